"""PDF: the text layer page by page, and the recognised text of pages that are pictures, each in its place."""

from collections.abc import Iterator
from typing import Any

from forge_pipelines.sources.place import ItemError, Refusal
from forge_pipelines.sources.readers import markdown, ocr
from forge_pipelines.sources.readers.pdf_layout import page_text
from forge_pipelines.sources.readers.pdf_scans import recognised, shows_something
from forge_pipelines.sources.readers.reading import Contents, Entry, Reading

MEDIA_TYPE = "application/pdf"
_MOST_PAGES = 10_000
_END_BYTES = 4096


def accepts(head: bytes) -> bool:
    """Accept what begins as a PDF does."""
    return head.lstrip(b"\xef\xbb\xbf \r\n\t\0").startswith(b"%PDF-")


def read(content: bytes) -> Reading | Contents:
    """Return the text of all pages; each page that shows something but has no text is a refusal beside it.

    Raises:
        ItemError: the PDF is encrypted, damaged, has too many pages, or has no text on any of them.
    """
    import pypdfium2

    if b"%%EOF" not in content[-_END_BYTES:]:
        raise ItemError("damaged", "is a PDF that ends too soon; copy it again")
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        if error.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD:
            raise ItemError("encrypted", "is encrypted; save it without a password") from error
        raise ItemError("damaged", f"is a damaged PDF: {error}") from error
    with document:
        if len(document) > _MOST_PAGES:
            raise ItemError("too_many_pages", f"has {len(document):,} pages, more than {_MOST_PAGES:,}; split it")
        return _read(document)


def _read(document: Any) -> Reading | Contents:
    texts: list[str] = []
    refusals: dict[int, Refusal] = {}
    for number, page in _pages(document):
        try:
            texts.append(_text(page))
        except ItemError as refused:
            refusals[number] = refused.refusal
    text = markdown.join(texts)
    if not text:
        _refuse_textless(len(document), refusals)
    reading = Reading(text, MEDIA_TYPE)
    if not refusals:
        return reading
    return Contents(reading, [Entry(f"#page={number}", refusal) for number, refusal in refusals.items()])


def _refuse_textless(num_pages: int, refusals: dict[int, Refusal]) -> None:
    if not ocr.is_configured():
        raise ItemError("needs_ocr", f"has no text on any of its {num_pages:,} pages; {ocr.REMEDY}")
    for number, refusal in refusals.items():
        reason = f"has no text on any of its {num_pages:,} pages, of which page {number:,} {refusal.reason}"
        raise ItemError(refusal.rule, reason)


def _pages(document: Any) -> Iterator[tuple[int, Any]]:
    from pypdfium2 import PdfiumError

    for number in range(1, len(document) + 1):
        try:
            page = document[number - 1]
        except PdfiumError as error:
            raise ItemError("damaged", f"is a PDF whose page {number:,} is damaged: {error}") from error
        yield number, page
        page.close()


def _text(page: Any) -> str:
    text = page_text(page)
    return recognised(page) if not text and shows_something(page) else text
