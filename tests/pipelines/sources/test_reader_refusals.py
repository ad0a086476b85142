"""What no reader falls for: bombs, locks, damage and emptiness are refusals that say what to do."""

import time
import zipfile

import document_samples as samples
import pytest
from format_samples import LAUGHS, many_pages
from reading_files import refused

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
WHOLE = {
    "pdf": samples.pdf(samples.LINES),
    "docx": samples.word(),
    "pptx": samples.presentation(),
    "xlsx": samples.workbook(),
    "odt": samples.open_text(),
    "epub": samples.book(),
    "rtf": samples.RICH,
    "ipynb": samples.notebook(),
    "docbook": samples.DOCBOOK,
    "mallard": samples.MALLARD,
    "eml": samples.mail(),
    "gzip": samples.gzipped(samples.DOCBOOK),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_half_a_document_is_damaged(kind: str) -> None:
    content = WHOLE[kind]
    assert refused(content[: len(content) * 2 // 3])[0] == "damaged"


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("docx", "word/document.xml"),
        ("pptx", "ppt/slides/slide1.xml"),
        ("xlsx", "xl/worksheets/sheet1.xml"),
        ("odt", "content.xml"),
        ("epub", "OEBPS/book.opf"),
    ],
)
def test_a_package_with_a_broken_part_is_damaged(kind: str, part: str) -> None:
    assert refused(samples.with_member(WHOLE[kind], part, b"<broken"))[0] == "damaged"
    assert refused(samples.with_member(WHOLE[kind], part, LAUGHS + b"<page>&a8;</page>"))[0] in {"damaged", "bomb"}


@pytest.mark.parametrize("kind", ["docx", "pptx", "xlsx", "odt", "epub"])
def test_a_zip_bomb_is_refused_before_it_is_unpacked(kind: str) -> None:
    bomb = samples.with_member(WHOLE[kind], "filler.xml", bytes(65 << 20))
    started = time.process_time()
    assert refused(bomb)[0] == "bomb"
    assert time.process_time() - started < 0.2


def test_a_member_gives_no_more_than_it_declares() -> None:
    bomb = samples.zipped({"mimetype": "application/epub+zip", "META-INF/container.xml": bytes(10 << 20)})
    declared = bomb.replace((10 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert declared != bomb
    assert refused(declared)[0] == "damaged"


def test_gzip_is_unpacked_within_bounds_and_once() -> None:
    assert refused(samples.gzipped(bytes(65 << 20)))[0] == "bomb"
    assert refused(samples.gzipped(samples.gzipped(b"text")))[0] == "bomb"
    assert refused(samples.gzipped(b"text")[:-9] + b"\xff" * 9)[0] == "damaged"


@pytest.mark.parametrize("entity", ["SYSTEM 'file:///etc/passwd'", "SYSTEM 'http://192.0.2.1/x'"])
def test_entities_from_elsewhere_are_never_fetched(entity: str) -> None:
    xml = f"<!DOCTYPE page [<!ENTITY x {entity}>]><page xmlns='http://projectmallard.org/1.0/'><p>&x;</p></page>"
    rule, reason = refused(xml.encode())
    assert rule == "entity"
    assert "needs what stands elsewhere" in reason


def test_a_bomb_of_entities_is_refused() -> None:
    started = time.process_time()
    assert refused(LAUGHS + b"<page xmlns='http://projectmallard.org/1.0/'><p>&a8;</p></page>")[0] == "bomb"
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("content", "rule", "words"),
    [
        pytest.param(samples.encrypted_pdf(), "encrypted", "without a password", id="pdf"),
        pytest.param(OLE + "EncryptedPackage".encode("utf-16-le"), "encrypted", "without a password", id="office"),
        pytest.param(OLE + "WordDocument".encode("utf-16-le"), "old_office", "save it as .docx", id="doc"),
        pytest.param(OLE + "Workbook".encode("utf-16-le"), "old_office", "save it as .xlsx", id="xls"),
        pytest.param(OLE, "not_text", "old Windows program", id="ole"),
        pytest.param(
            samples.with_member(WHOLE["odt"], "META-INF/manifest.xml", b"<m><encryption-data/></m>"),
            "encrypted",
            "without a password",
            id="odt",
        ),
        pytest.param(
            samples.with_member(
                WHOLE["epub"], "META-INF/encryption.xml", b"<e><EncryptionMethod Algorithm='aes'/></e>"
            ),
            "encrypted",
            "a locked book",
            id="epub",
        ),
        pytest.param(
            samples.mail().replace(b"multipart/mixed", b"multipart/encrypted"), "encrypted", "decrypt it", id="eml"
        ),
        pytest.param(
            samples.zipped({"[Content_Types].xml": "ms-word.template.macroEnabledTemplate.main+xml"}),
            "unsupported",
            "save it as .docx",
            id="dotm",
        ),
        pytest.param(
            samples.zipped({"[Content_Types].xml": "text"}, zipfile.ZIP_BZIP2), "damaged", "save it again", id="bzip2"
        ),
        pytest.param(b"\x89PNG\r\n\x1a\n\0\0", "needs_ocr", "is a picture (PNG); name a command", id="png"),
        pytest.param(b"\xff\xd8\xff\xe0", "needs_ocr", "is a picture (JPEG); name a command", id="jpeg"),
        pytest.param(b"II*\0", "needs_ocr", "is a picture (TIFF); name a command", id="tiff"),
        pytest.param(samples.pdf(()), "needs_ocr", "no text on any of its 1 pages", id="scan"),
        pytest.param(b"%PDF-1.7\n%%EOF", "damaged", "is a damaged PDF", id="no-pdf"),
    ],
)
def test_what_cannot_be_read_says_why_and_what_to_do(content: bytes, rule: str, words: str) -> None:
    found, reason = refused(content)
    assert found == rule
    assert words in reason
    assert reason.startswith(("is ", "has "))  # the file's name stands before it


def test_a_pdf_of_too_many_pages_is_refused_without_reading_them() -> None:
    assert refused(many_pages(10_001)) == ("too_many_pages", "has 10,001 pages, more than 10,000; split it")


@pytest.mark.parametrize(
    "content",
    [
        samples.saved(samples.docx.Document()),
        samples.saved(samples.pptx.Presentation()),
        samples.saved(samples.openpyxl.Workbook()),
        samples.saved(samples.opendocument.OpenDocumentText()),
        b"{\\rtf1}",
        b'{"cells": [], "nbformat": 4}',
        b"<page xmlns='http://projectmallard.org/1.0/'/>",
        samples.gzipped(b""),
    ],
)
def test_an_empty_document_says_so(content: bytes) -> None:
    assert refused(content) == ("empty", "holds no text")


def test_elements_within_elements_end_in_a_refused() -> None:
    page = b"<page xmlns='http://projectmallard.org/1.0/'>" + b"<section>" * 250 + b"<p>x</p>"
    assert refused(page + b"</section>" * 250 + b"</page>")[0] == "too_deep"
