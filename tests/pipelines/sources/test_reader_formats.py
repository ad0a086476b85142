"""What each format's reader promises: the text, whole and in order, with its structure as Markdown."""

import document_samples as samples
import pytest
from format_samples import PDF_TEXT, TSV, TSV_TEXT
from reading_files import read

from forge_pipelines.sources.readers import slides, word, workbook


@pytest.mark.parametrize(
    ("content", "text", "media_type"),
    [
        pytest.param(samples.word(), samples.WORD_TEXT, word.MEDIA_TYPE, id="docx"),
        pytest.param(samples.presentation(), samples.PRESENTATION_TEXT, slides.MEDIA_TYPE, id="pptx"),
        pytest.param(samples.workbook(), samples.WORKBOOK_TEXT, workbook.MEDIA_TYPE, id="xlsx"),
        pytest.param(samples.open_text(), samples.OPEN_TEXT, "application/vnd.oasis.opendocument.text", id="odt"),
        pytest.param(
            samples.open_sheet(),
            "## Oils\n\n| part | oil |\n| --- | --- |\n| shaft | yes |",
            "application/vnd.oasis.opendocument.spreadsheet",
            id="ods",
        ),
        pytest.param(
            samples.open_slides(),
            "## Pumps\n\nGrease weekly.",
            "application/vnd.oasis.opendocument.presentation",
            id="odp",
        ),
        pytest.param(samples.book(), samples.BOOK_TEXT, "application/epub+zip", id="epub"),
        pytest.param(samples.RICH, samples.RICH_TEXT, "application/rtf", id="rtf"),
        pytest.param(samples.notebook(), samples.NOTEBOOK_TEXT, "application/x-ipynb+json", id="ipynb"),
        pytest.param(samples.CSV, samples.CSV_TEXT, "text/csv", id="csv"),
        pytest.param(
            TSV,
            TSV_TEXT,
            "text/tab-separated-values",
            id="tsv",
        ),
        pytest.param(samples.DOCBOOK, samples.DOCBOOK_TEXT, "application/docbook+xml", id="docbook"),
        pytest.param(samples.MALLARD, samples.MALLARD_TEXT, "application/mallard+xml", id="mallard"),
        pytest.param(samples.mail(), samples.MAIL_TEXT, "message/rfc822", id="eml"),
        pytest.param(samples.mail(html_only=True), samples.HTML_MAIL_TEXT, "message/rfc822", id="eml-html"),
        pytest.param(samples.gzipped(samples.word()), samples.WORD_TEXT, word.MEDIA_TYPE, id="gzip-docx"),
        pytest.param(samples.gzipped(b"A log.\n"), "A log.\n", "text/plain", id="gzip-text"),
        pytest.param(samples.pdf(samples.LINES), PDF_TEXT, "application/pdf", id="pdf"),
        pytest.param(
            samples.pdf(("One.",), (), ("Three.",)), "One.\n\nThree.", "application/pdf", id="pdf-with-an-empty-page"
        ),
    ],
)
def test_text_and_structure_survive(content: bytes, text: str, media_type: str) -> None:
    reading = read(content)
    assert reading.text == text
    assert reading.media_type == media_type


@pytest.mark.parametrize(
    ("line_end", "joined"),
    [(("who-", "ever"), "whoever"), (("Ost-", "West"), "Ost-West"), (("1990-", "1995"), "1990-1995")],
)
def test_a_hyphen_at_a_lines_end_goes_only_where_it_split_a_word(line_end: tuple[str, str], joined: str) -> None:
    assert read(samples.pdf(line_end)).text == joined


@pytest.mark.parametrize(
    "content",
    [
        b"Oil, grease, cloth\nand, then, more\nbut, never, less\n",
        b"first,second\nonly two lines\n",
        b"the pump,the hall\nthe shaft,the seal,the oil\nthe card,the door\n",
        b"x = f(a,b)\ny = f(c,d)\nz = f(e,f)\n",
        b"\tindented\n\tindented\n\tindented\n",
        b"a,b\n1,2\n3,4\n" + b"5,6\n" * 2000 + b"a sentence at the end\n",
    ],
)
def test_a_comma_in_prose_or_code_makes_no_table(content: bytes) -> None:
    reading = read(content)
    assert (reading.text, reading.media_type) == (content.decode(), "text/plain")


def test_json_that_only_speaks_of_cells_is_text() -> None:
    content = b'{"cell_type": "prison", "doors": 2}'
    assert read(content).text == content.decode()


def test_a_program_for_docbook_is_text_and_no_docbook() -> None:
    content = b"<xsl:stylesheet xmlns:db='http://docbook.org/ns/docbook'><xsl:template match='db:para'/>"
    assert read(content).text == content.decode()


def test_a_note_that_begins_like_a_letter_is_no_mail() -> None:
    content = b"From: the hall\nTo: the office\n\nThe pump is broken.\n"
    assert read(content).media_type == "text/plain"


def test_a_mail_whose_headers_are_longer_than_what_is_looked_at_is_a_mail() -> None:
    hops = b"".join(b"Received: from a.example.org by b.example.org;\n\tMon, 02 Mar 2026\n" for _ in range(400))
    assert read(hops + samples.mail()).text == samples.MAIL_TEXT


def test_sparse_sheets_cost_what_they_hold() -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active["A1"], book.active["C200000"] = "first", "last"
    assert read(samples.saved(book)).text == "## Sheet\n\n| first |  |  |\n| --- | --- | --- |\n|  |  | last |"
