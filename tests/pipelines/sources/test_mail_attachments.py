"""What mail promises: its text is whole, and each attachment is a document of its own, whose parent is the mail."""

import base64
from email.message import EmailMessage
from urllib.parse import quote

import document_samples as samples
import pytest
from reading_files import read, read_parts, read_texts, refused

from forge_pipelines.sources.place import Refusal
from forge_pipelines.sources.readers.reading import Part, Reading, ReadingOptions
from forge_pipelines.sources.readers.unfolding import read as unfold


def mail(text: str = "The text.") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "ada@example.org"
    message["Message-ID"] = "<1@example.org>"
    message.set_content(text)
    return message


def multipart(*parts: str, kind: str = "mixed") -> bytes:
    head = f"From: ada@example.org\nMessage-ID: <1@example.org>\nContent-Type: multipart/{kind}; boundary=cut\n\n"
    return (head + "".join(f"--cut\n{part}\n" for part in parts) + "--cut--\n").encode()


def test_attachments_are_documents_below_the_mail() -> None:
    message = mail()
    for content, name in ((samples.word(), "report.docx"), (samples.CSV, "parts.csv"), (b"Notes.", "notes.txt")):
        message.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    parts = [part for part in unfold(message.as_bytes(), ReadingOptions()) if isinstance(part, Part)]
    assert [(part.path, part.parent) for part in parts] == [
        ("", None),
        ("!/report.docx", ""),
        ("!/parts.csv", ""),
        ("!/notes.txt", ""),
    ]
    assert read_texts(message.as_bytes()) == {
        "": "From: ada@example.org\n\nThe text.\n\nAttachments: report.docx, parts.csv, notes.txt",
        "!/report.docx": samples.WORD_TEXT,
        "!/parts.csv": samples.CSV_TEXT,
        "!/notes.txt": "Notes.",
    }


def test_an_attached_mail_is_a_mail_with_attachments_of_its_own() -> None:
    inner = mail("Within.")
    inner["Subject"] = "Pümpe"
    inner.add_attachment(b"Deep.", maintype="application", subtype="octet-stream", filename="deep.txt")
    outer = mail("Around.")
    outer.add_attachment(inner)
    assert read_texts(outer.as_bytes()) == {
        "": "From: ada@example.org\n\nAround.\n\nAttachments: a mail «Pümpe»",
        "!/1.eml": "From: ada@example.org\nSubject: Pümpe\n\nWithin.\n\nAttachments: deep.txt",
        "!/1.eml!/deep.txt": "Deep.",
    }


def test_a_mail_attached_in_base64_which_is_not_allowed_is_read_all_the_same() -> None:
    inner = base64.encodebytes(mail("Within.").as_bytes()).decode()
    content = multipart(f"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n{inner}")
    assert read_texts(content)["!/1.eml"] == "From: ada@example.org\n\nWithin."


def test_an_archive_in_a_mail_is_unpacked() -> None:
    message = mail()
    packed = samples.zipped({"a.txt": "A.", "../b.txt": "B."})
    message.add_attachment(packed, maintype="application", subtype="zip", filename="all.zip")
    texts = read_texts(message.as_bytes())
    assert {path: text for path, text in texts.items() if path} == {
        "!/all.zip!/a.txt": "A.",
        "!/all.zip!/../b.txt": "<traversal>",
    }


def test_a_damaged_attachment_is_its_own_refusal() -> None:
    message = mail()
    message.add_attachment(b"%PDF-1.7 cut", maintype="application", subtype="pdf", filename="cut.pdf")
    message.add_attachment("Good.", filename="good.txt")
    texts = read_texts(message.as_bytes())
    assert texts["!/cut.pdf"] == "<damaged>"
    assert texts["!/good.txt"] == "Good.\n"
    assert "The text." in texts[""]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("../../etc/passwd", "!/.._.._etc_passwd"),
        ("a/b\\c.txt", "!/a_b_c.txt"),
        ("two\nlines  and\ttabs.txt", "!/two lines and tabs.txt"),
        ("a\0b\x7f.txt", "!/a_b_.txt"),
        ("Größe.txt", "!/Größe.txt"),
        ("x" * 300 + ".txt", "!/" + "x" * 200),
    ],
)
def test_an_attachments_name_is_one_line_and_no_path(name: str, path: str) -> None:
    encoded = f"Content-Disposition: attachment; filename*=utf-8''{quote(name, safe='')}"
    assert read_texts(multipart(f"Content-Type: text/plain\n{encoded}\n\nGood."))[path] == "Good."


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("application/pdf", "!/1.pdf"),
        ("text/csv", "!/1.csv"),
        ("text/calendar", "!/1.ics"),
        ("application/x-unheard-of", "!/1.bin"),
    ],
)
def test_an_attachment_without_a_name_is_numbered(kind: str, path: str) -> None:
    text = multipart("Content-Type: text/plain\n\nText.", f"Content-Type: {kind}\n\nplain words")
    assert list(read_parts(text)) == ["", path]


def test_two_attachments_of_one_name_are_two_documents() -> None:
    message = mail()
    for text in ("One.", "Two."):
        message.add_attachment(text, filename="a.txt")
    texts = read_texts(message.as_bytes())
    assert (texts["!/a.txt"], texts["!/a.txt~2"]) == ("One.\n", "Two.\n")


def test_pictures_that_the_text_shows_and_signatures_are_no_documents() -> None:
    message = EmailMessage()
    message["From"] = "ada@example.org"
    message["Message-ID"] = "<1@example.org>"
    message.set_content('<p>See <img src="cid:1"></p>', subtype="html")
    message.add_related(b"\x89PNG", maintype="image", subtype="png", cid="<1>")
    message.make_mixed()
    message.add_attachment(b"0", maintype="application", subtype="pgp-signature", filename="signature.asc")
    message.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="scan.png")
    parts = read_parts(message.as_bytes())
    assert list(parts) == ["", "!/scan.png"]
    assert isinstance(parts["!/scan.png"], Refusal)
    assert read(message.as_bytes()).text.endswith("See\n\nAttachments: signature.asc, scan.png")


def test_an_attached_text_keeps_the_encoding_that_only_the_mail_knows() -> None:
    latin = "Content-Type: text/plain; charset=koi8-r\nContent-Disposition: attachment; filename=a.txt\n"
    body = base64.b64encode("Насос".encode("koi8-r")).decode()
    content = multipart("Content-Type: text/plain\n\nText.", f"{latin}Content-Transfer-Encoding: base64\n\n{body}")
    assert read_texts(content)["!/a.txt"] == "Насос"


def test_text_after_an_attachment_is_text_of_the_mail() -> None:
    content = multipart(
        "Content-Type: text/plain\n\nBefore.",
        "Content-Type: text/csv\nContent-Disposition: attachment; filename=a.csv\n\na,b\n1,2\n3,4",
        "Content-Type: text/plain\n\nAfter.",
        "Content-Type: text/html\n\n<p>The list's footer.</p>",
    )
    assert read(content).text == (
        "From: ada@example.org\n\nBefore.\n\nAfter.\n\nThe list's footer.\n\nAttachments: a.csv"
    )


def test_of_several_forms_of_a_text_one_is_read_and_what_is_attached_to_any() -> None:
    inner = multipart(
        "Content-Type: text/html\n\n<p>Rich.</p>",
        "Content-Type: text/plain; name=a.txt\n\nAttached.",
    ).partition(b"Content-Type")[2]
    content = multipart(
        "Content-Type: text/html\n\n<p>Rich.</p>",
        "Content-Type: text/plain\n\nPlain.",
        "Content-Type: text/x-amp-html\n\n<p>Amp.</p>",
        "Content-Type" + inner.decode().replace("cut", "other"),
        kind="alternative",
    )
    assert read_texts(content) == {
        "": "From: ada@example.org\n\nPlain.\n\nAttachments: a.txt",
        "!/a.txt": "Attached.",
    }


def test_the_report_of_a_failed_delivery_is_read_beside_its_text() -> None:
    content = multipart(
        "Content-Type: text/plain\n\nNot delivered.",
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; a\n\nFinal-Recipient: rfc822; b@example.org",
        "Content-Type: message/rfc822\n\n" + mail("The mail.").as_string(),
        kind="report",
    )
    texts = read_texts(content)
    assert texts[""].startswith("From: ada@example.org\n\nNot delivered.")
    assert "Final-Recipient: rfc822; b@example.org" in texts["!/1.txt"]
    assert "The mail." in texts["!/2.eml"]


def test_a_mail_that_is_nothing_but_a_file_holds_it() -> None:
    head = "From: ada@example.org\nMessage-ID: <1@example.org>\nContent-Type: application/rtf; name=a.rtf\n\n"
    assert read_texts(head.encode() + samples.RICH)["!/a.rtf"] == samples.RICH_TEXT


@pytest.mark.parametrize("num_bytes", [1, 40, 400])
def test_a_mail_cut_short_is_damaged_as_a_whole(num_bytes: int) -> None:
    message = mail()
    message.add_attachment(mail("Within."))
    message.add_attachment(b"x" * 300, maintype="application", subtype="octet-stream", filename="a.bin")
    whole = message.as_bytes().rstrip()
    assert refused(whole[: -num_bytes - 2]) == ("damaged", "is mail that ends too soon; export it again")


def test_a_broken_mail_within_a_whole_one_is_refused_alone() -> None:
    inner = multipart("Content-Type: text/plain\n\nText.").replace(b"--cut--", b"").decode().replace("cut", "lost")
    content = multipart("Content-Type: text/plain\n\nAround.", f"Content-Type: message/rfc822\n\n{inner}")
    outcomes = read_parts(content)
    assert isinstance(outcomes[""], Reading)
    assert isinstance(outcomes["!/1.eml"], Refusal)


def test_a_mail_whose_parts_have_no_boundary_is_damaged_and_not_empty() -> None:
    content = b"From: a\nMessage-ID: <1>\nContent-Type: multipart/mixed\n\nThe text that nobody would see.\n"
    assert refused(content)[0] == "damaged"
