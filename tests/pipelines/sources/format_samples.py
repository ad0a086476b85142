"""One folder with a real file of every format that is read, and one of every file that must not be: made by Python."""

import bz2
import codecs
import io
import lzma
import mailbox
import tarfile
import tempfile
import zipfile
from email.message import EmailMessage
from pathlib import Path

import code_samples
import document_samples as samples
from PIL import Image
from record_samples import arrow_file, arrow_stream, json_lines, parquet

MARKDOWN = "# Pumps\n\nSee **here**, [there](a.md) and `x`.\n\n```\ncode\n```\n"
RESTRUCTURED = "Pumps\n=====\n\n.. note:: oil\n\nUse ``grease`` and :ref:`oil`.\n"
GERMAN = "Die Prüfung der Pumpe übernimmt täglich, wer die Halle öffnet. Größere Schäden sind sofort zu melden.\n" * 3
RUSSIAN = "Насос проверяет тот, кто открывает зал. О больших повреждениях нужно сообщать немедленно.\n" * 3
JAPANESE = "ポンプは毎朝、ホールを開ける人が点検します。大きな損傷はすぐに報告してください。\n" * 3
PDF_TEXT = "Pump maintenance\n\nThe pump is greased once a week by whoever opens the hall.\n\n- grease\n\n- cloth"
ROWS = ({"text": "The first."}, {"text": "The second."})
CHAT = {"messages": [{"role": "user", "content": "Oil?"}, {"role": "assistant", "content": "Grease."}]}
TSV = b"part\toil\nshaft\tyes\nseal\tno\n"
TSV_TEXT = "| part | oil |\n| --- | --- |\n| shaft | yes |\n| seal | no |"


def page(language: str, title: str, text: str, encoding: str = "utf-8") -> bytes:
    """Return a web page with navigation around its text."""
    paragraph = text.replace("\n", " ").strip()
    return (
        f'<!DOCTYPE html><html lang="{language}"><head><meta charset="{encoding}"><title>{title}</title></head><body>'
        f"<nav><a href='/'>Home</a></nav><main><h1>{title}</h1><p>{paragraph}</p></main><footer>Imprint</footer></body>"
    ).encode(encoding)


def page_text(title: str, text: str) -> str:
    """Return what is read of such a page."""
    return f"# {title}\n\n" + text.replace("\n", " ").strip()


def tar(files: dict[str, bytes | str]) -> bytes:
    """Return a tar archive of some files."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in files.items():
            raw = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            entry.size = len(raw)
            archive.addfile(entry, io.BytesIO(raw))
    return file.getvalue()


def mail(subject: str, **attached: bytes) -> EmailMessage:
    """Return a mail; attachments by their names, an underscore for each point."""
    message = EmailMessage()
    message["From"], message["Subject"], message["Message-ID"] = "ada@example.org", subject, f"<{subject}@example.org>"
    message.set_content(f"Text of {subject}.")
    for name, content in attached.items():
        filename = name.replace("_", ".")
        message.add_attachment(content, maintype="application", subtype="octet-stream", filename=filename)
    return message


def mbox(*messages: EmailMessage) -> bytes:
    """Return a mailbox in one file."""
    with tempfile.TemporaryDirectory() as folder:
        box = mailbox.mbox(Path(folder) / "box")
        for message in messages:
            box.add(message)
        box.close()
        return (Path(folder) / "box").read_bytes()


def _mail_text(subject: str, attached: str = "") -> str:
    end = f"\n\nAttachments: {attached}" if attached else ""
    return f"From: ada@example.org\nSubject: {subject}\n\nText of {subject}.{end}"


_ARCHIVE: dict[str, bytes | str] = {"deep/a.md": MARKDOWN, "report.docx": samples.word()}
_ARCHIVE_TEXTS = {"!/deep/a.md": MARKDOWN, "!/report.docx": samples.WORD_TEXT}
_RECORDS = {"#1": "The first.", "#2": "The second."}

EVERY_FORMAT: dict[str, tuple[bytes, str | dict[str, str]]] = {
    "read.md": (MARKDOWN.encode(), MARKDOWN),
    "manual.rst": (RESTRUCTURED.encode(), RESTRUCTURED),
    "utf8.txt": (GERMAN.encode(), GERMAN),
    "utf8-mark.txt": (codecs.BOM_UTF8 + GERMAN.encode(), GERMAN),
    "utf16.txt": (GERMAN.encode("utf-16"), GERMAN),
    "utf32.txt": (RUSSIAN.encode("utf-32"), RUSSIAN),
    "windows.txt": (GERMAN.replace("\n", "\r\n").encode("cp1252"), GERMAN),
    "cyrillic.txt": (RUSSIAN.encode("cp1251"), RUSSIAN),
    "japanese.txt": (JAPANESE.encode("shift_jis"), JAPANESE),
    "german.html": (page("de", "Die Pumpe", GERMAN, "iso-8859-1"), page_text("Die Pumpe", GERMAN)),
    "russian.html": (page("ru", "Насос", RUSSIAN), page_text("Насос", RUSSIAN)),
    "japanese.html": (page("ja", "ポンプ", JAPANESE, "euc-jp"), page_text("ポンプ", JAPANESE)),
    "topic.page": (samples.MALLARD, samples.MALLARD_TEXT),
    "book.xml": (samples.DOCBOOK, samples.DOCBOOK_TEXT),
    "plan.pdf": (samples.pdf(samples.LINES), PDF_TEXT),
    "word.docx": (samples.word(), samples.WORD_TEXT),
    "slides.pptx": (samples.presentation(), samples.PRESENTATION_TEXT),
    "sheet.xlsx": (samples.workbook(), samples.WORKBOOK_TEXT),
    "open.odt": (samples.open_text(), samples.OPEN_TEXT),
    "open.ods": (samples.open_sheet(), "## Oils\n\n| part | oil |\n| --- | --- |\n| shaft | yes |"),
    "open.odp": (samples.open_slides(), "## Pumps\n\nGrease weekly."),
    "novel.epub": (samples.book(), samples.BOOK_TEXT),
    "rich.rtf": (samples.RICH, samples.RICH_TEXT),
    "study.ipynb": (samples.notebook(), samples.NOTEBOOK_TEXT),
    "parts.csv": (samples.CSV, samples.CSV_TEXT),
    "parts.tsv": (TSV, TSV_TEXT),
    "records.jsonl": (json_lines(*ROWS), _RECORDS),
    "chats.jsonl": (json_lines(CHAT, CHAT), {"#1": "Oil?\n\nGrease.", "#2": "Oil?\n\nGrease."}),
    "records.parquet": (parquet(*ROWS), _RECORDS),
    "records.arrow": (arrow_file(*ROWS), _RECORDS),
    "stream.arrow": (arrow_stream(*ROWS), _RECORDS),
    "letter.eml": (
        mail("Oil", plan_pdf=samples.pdf(samples.LINES), all_zip=samples.zipped({"a.txt": "A."})).as_bytes(),
        {"": _mail_text("Oil", "plan.pdf, all.zip"), "!/plan.pdf": PDF_TEXT, "!/all.zip!/a.txt": "A."},
    ),
    "letters.mbox": (
        mbox(mail("One"), mail("Two", note_txt=b"A note.")),
        {
            "!/One@example.org": _mail_text("One"),
            "!/Two@example.org": _mail_text("Two", "note.txt"),
            "!/Two@example.org!/note.txt": "A note.",
        },
    ),
    "notes.txt.gz": (samples.gzipped(GERMAN.encode()), GERMAN),
    "notes.txt.bz2": (bz2.compress(GERMAN.encode()), GERMAN),
    "notes.txt.xz": (lzma.compress(GERMAN.encode()), GERMAN),
    "all.zip": (samples.zipped(_ARCHIVE), _ARCHIVE_TEXTS),
    "all.tar": (tar(_ARCHIVE), _ARCHIVE_TEXTS),
    "all.tar.gz": (samples.gzipped(tar(_ARCHIVE)), _ARCHIVE_TEXTS),
    "all.tar.bz2": (bz2.compress(tar(_ARCHIVE)), _ARCHIVE_TEXTS),
    "all.tar.xz": (lzma.compress(tar(_ARCHIVE)), _ARCHIVE_TEXTS),
    "zip-in-tar.tar": (
        tar({"in.zip": samples.zipped(_ARCHIVE)}),
        {f"!/in.zip{k}": v for k, v in _ARCHIVE_TEXTS.items()},
    ),
    **{
        f"code-{kind.split('/')[-1]}-{len(text)}": (text.encode(), text)
        for text, kind in code_samples.MEDIA_TYPES.items()
    },
}
"""Files by their names, and what is read of each: its text, or the texts within it by where they stand."""

_ENTITIES = b"".join(b'<!ENTITY a%d "%s">' % (number, b"&a%d;" % (number - 1) * 20) for number in range(1, 9))
LAUGHS = b'<?xml version="1.0"?><!DOCTYPE page [<!ENTITY a0 "ha">' + _ENTITIES + b"]>"
_MALLARD = b"<page xmlns='http://projectmallard.org/1.0/'>"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)


def many_pages(count: int) -> bytes:
    """Return a PDF that has so many pages, all of them the same."""
    kids = b" ".join(b"3 0 R" for _ in range(count))
    return (
        b"%%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Count %d/Kids[" % count
        + kids
        + b"]>>endobj\n3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\ntrailer<</Root 1 0 R/Size 4>>\n%%EOF"
    )


def encrypted_zip() -> bytes:
    """Return a ZIP archive whose first member needs a password."""
    content = bytearray(samples.zipped({"secret.txt": "text", "good.txt": "Good."}))
    for sign, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(sign) + place] |= 1
    return bytes(content)


def linked_tar() -> bytes:
    """Return a tar archive of a link out of it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return file.getvalue()


def _picture(form: str) -> bytes:
    file = io.BytesIO()
    Image.new("L", (60, 40)).save(file, form)
    return file.getvalue()


def _half(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def _packed_lzma() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.txt", "text")
    return file.getvalue()


_TOO_LARGE = "would unpack to more than 67,108,864 bytes"
_LEADS_OUT = "has a name that leads out of its archive (absolute, «..», a drive, a backslash); pack it under another"
_NEEDS_OCR = "name a command that recognises text (OCR) as `reading.ocr`"
_BOMB = samples.zipped({"zeros.txt": bytes(65 << 20)})

HOSTILE: dict[str, tuple[bytes, str, str]] = {
    "bomb.docx": (samples.with_member(samples.word(), "filler.xml", bytes(65 << 20)), "bomb", _TOO_LARGE),
    "bomb.zip!/zeros.txt": (_BOMB, "bomb", _TOO_LARGE),
    "nested.zip!/deep.zip!/zeros.txt": (samples.zipped({"deep.zip": _BOMB}), "bomb", _TOO_LARGE),
    "bomb.gz": (samples.gzipped(bytes(65 << 20)), "bomb", _TOO_LARGE),
    "bomb.bz2": (bz2.compress(bytes(65 << 20)), "bomb", _TOO_LARGE),
    "bomb.xz": (lzma.compress(bytes(65 << 20)), "bomb", _TOO_LARGE),
    "twice.gz": (
        samples.gzipped(samples.gzipped(b"text")),
        "bomb",
        "is packed data within packed data; unpack it beforehand",
    ),
    "laughs.page": (LAUGHS + _MALLARD + b"<p>&a8;</p></page>", "bomb", "is XML that would grow beyond"),
    "outside.page": (
        b"<!DOCTYPE page [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>" + _MALLARD + b"<p>&x;</p></page>",
        "entity",
        "is XML that needs what stands elsewhere",
    ),
    "deep.page": (
        _MALLARD + b"<section>" * 250 + b"<p>x</p>" + b"</section>" * 250 + b"</page>",
        "too_deep",
        "nests elements more deeply than can be read",
    ),
    "deep.html": (
        b"<!doctype html><html><body>" + b"<div>" * 100_000 + b"the end",
        "html_limits",
        "is HTML that cannot be read whole",
    ),
    "leads-out.zip!/../../etc/passwd": (samples.zipped({"../../etc/passwd": "x"}), "traversal", _LEADS_OUT),
    "leads-out.tar!//etc/passwd": (tar({"/etc/passwd": "x"}), "traversal", _LEADS_OUT),
    "link.tar!/link": (linked_tar(), "not_a_file", "is a link, not a file"),
    "locked.zip!/secret.txt": (encrypted_zip(), "encrypted", "is encrypted; pack it without a password"),
    "locked.pdf": (samples.encrypted_pdf(), "encrypted", "is encrypted; save it without a password"),
    "locked.docx": (
        _OLE + "EncryptedPackage".encode("utf-16-le"),
        "encrypted",
        "is encrypted; save it without a password",
    ),
    "locked.odt": (
        samples.with_member(samples.open_text(), "META-INF/manifest.xml", b"<m><encryption-data/></m>"),
        "encrypted",
        "is encrypted; save it without a password",
    ),
    "locked.epub": (
        samples.with_member(samples.book(), "META-INF/encryption.xml", b"<e><EncryptionMethod Algorithm='aes'/></e>"),
        "encrypted",
        "is a locked book; use a copy without digital rights management",
    ),
    "locked.eml": (
        samples.mail().replace(b"multipart/mixed", b"multipart/encrypted"),
        "encrypted",
        "is encrypted mail; decrypt it beforehand",
    ),
    "lzma.zip!/a.txt": (_packed_lzma(), "unsupported", "is packed by a method that is not read; pack it by deflate"),
    "empty.zip": (samples.zipped({}), "empty", "is an archive that holds no files, or only hidden ones"),
    "many.pdf": (many_pages(10_001), "too_many_pages", "has 10,001 pages, more than 10,000; split it"),
    "blank.pdf": (samples.pdf(()), "needs_ocr", f"has no text on any of its 1 pages; {_NEEDS_OCR}"),
    "scan.png": (_picture("PNG"), "needs_ocr", f"is a picture (PNG); {_NEEDS_OCR}"),
    "photo.jpg": (_picture("JPEG"), "needs_ocr", f"is a picture (JPEG); {_NEEDS_OCR}"),
    "fax.tiff": (_picture("TIFF"), "needs_ocr", f"is a picture (TIFF); {_NEEDS_OCR}"),
    "old.doc": (
        _OLE + "WordDocument".encode("utf-16-le"),
        "old_office",
        "is an old binary Word document; save it as .docx",
    ),
    "program": (b"\x7fELF\x02\x01\x01", "not_text", "is not text: it is a program"),
    "nul.txt": (b"a line\n\0\0", "not_text", "is not text: it holds a NUL at character 7"),
    "empty.txt": (b"", "empty", "holds no text"),
    **{
        f"half-{name}": (_half(EVERY_FORMAT[name][0]), "damaged", "")
        for name in (
            *(
                "plan.pdf",
                "word.docx",
                "slides.pptx",
                "sheet.xlsx",
                "open.odt",
                "novel.epub",
                "rich.rtf",
                "study.ipynb",
            ),
            *("topic.page", "book.xml", "letter.eml", "notes.txt.gz", "notes.txt.bz2", "notes.txt.xz", "all.zip"),
            *("records.parquet", "all.tar.gz"),
        )
    },
}
"""Where a refusal stands (the file's name, and the member's), the file, its rule, and how its sentence begins."""
