"""PDF: the text layer page by page, hyphens at line ends resolved, lines joined to paragraphs."""

import ctypes
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers import markdown
from forge_pipelines.sources.readers.reading import Reading

MEDIA_TYPE = "application/pdf"
_MOST_PAGES = 10_000
_END_BYTES = 4096
_HYPHENATED = re.compile(r"(\w?)[\ufffe\x02\u00ad]\s?(?=(\w?))")
_LINE_END_HYPHEN = re.compile(r"(?<=\w)[-\u2010]$")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f]")
_BULLET = re.compile(r"[\u2022\u2023\u25aa\u25cf\u25e6\u2043\u2219\u00b7\uf0b7][ \t]*|[\u2013*-][ \t]+")
_NUMBER = re.compile(r"(?:\d{1,3}[.)]|\([a-z\d]\)|[a-z]\))[ \t]+\S")
_ENDS = (".", "!", "?", ":", "…", "»", "”", '."', "。")
_WIDE_GAP = 1.3
_INDENT = 0.5
_ROOM = 1.5


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a page, or several that hyphens join.

    Attributes:
        left, top: where its first character stands, in points from the page's left and bottom edges.
        right, bottom: where its last character stands.
    """

    text: str
    left: float
    top: float
    right: float
    bottom: float


def accepts(head: bytes) -> bool:
    """Accept what begins as a PDF does."""
    return head.lstrip(b"\xef\xbb\xbf \r\n\t\0").startswith(b"%PDF-")


def read(content: bytes) -> Reading:
    """Return the text of all pages.

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
        text = markdown.join(_page(document, number) for number in range(len(document)))
        if not text:
            raise ItemError("needs_ocr", f"has no text on any of its {len(document):,} pages; recognise it (OCR) first")
    return Reading(text, MEDIA_TYPE)


def _page(document: Any, number: int) -> str:
    import pypdfium2

    try:
        page = document[number]
        text_page = page.get_textpage()
    except pypdfium2.PdfiumError as error:
        raise ItemError("damaged", f"is a PDF whose page {number + 1:,} is damaged: {error}") from error
    lines = list(_lines(text_page))
    text_page.close()
    page.close()
    return markdown.join(_paragraphs(lines))


def _lines(text_page: Any) -> Iterator[_Line]:
    start = 0
    for line in text_page.get_text_range().split("\n"):
        num_units = len(line.encode("utf-16-le", "surrogatepass")) // 2
        text = line.strip()
        if text:
            first = _origin(text_page, start + len(line) - len(line.lstrip()))
            yield _Line(text, *first, *_origin(text_page, start + num_units - (len(line) - len(line.rstrip())) - 1))
        start += num_units + 1


def _origin(text_page: Any, text_index: int) -> tuple[float, float]:
    from pypdfium2 import raw

    x, y = ctypes.c_double(), ctypes.c_double()
    raw.FPDFText_GetCharOrigin(text_page, raw.FPDFText_GetCharIndexFromTextIndex(text_page, text_index), x, y)
    return x.value, y.value


def _paragraphs(lines: Sequence[_Line]) -> Iterator[str]:
    gaps = sorted(gap for before, line in pairwise(lines) if (gap := before.bottom - line.top) > 0)
    usual = gaps[len(gaps) // 4] if gaps else 0.0  # most lines follow one within a paragraph
    paragraph: list[_Line] = []
    for line in lines:
        if paragraph and _begins(line, paragraph[-1], usual):
            yield _joined(paragraph)
            paragraph = []
        paragraph.append(line)
    if paragraph:
        yield _joined(paragraph)


def _begins(line: _Line, before: _Line, usual_gap: float) -> bool:
    gap = before.bottom - line.top
    indented = line.left - before.left > _INDENT * usual_gap and before.text.endswith(_ENDS)
    listed = _BULLET.match(line.text) or _NUMBER.match(line.text)
    return not 0 <= gap <= _WIDE_GAP * usual_gap or indented or listed is not None


def _joined(lines: Sequence[_Line]) -> str:
    right = max(line.right for line in lines)
    text = lines[0].text
    for before, line in pairwise(lines):
        hyphen = _LINE_END_HYPHEN.search(text)
        if hyphen is None:
            text += ("\n" if _is_kept(before, line, right) else " ") + line.text
        elif line.text[0].islower() and text[hyphen.start() - 1].isalpha():
            text = text[: hyphen.start()] + line.text
        else:
            text += line.text
    bullet = _BULLET.match(text)
    text = f"- {text[bullet.end() :]}" if bullet else text
    return _CONTROLS.sub("", _HYPHENATED.sub(_resolved, text))


def _is_kept(before: _Line, line: _Line, right: float) -> bool:
    """Tell whether a line end is meant, as in code and addresses: the next word would have found room before it."""
    character_width = (line.right - line.left) / max(len(line.text) - 1, 1)
    word = line.text.split(maxsplit=1)[0]
    return line.top < before.bottom and before.right + _ROOM * (len(word) + 1) * character_width < right


def _resolved(hyphen: re.Match[str]) -> str:
    return hyphen[1] if hyphen[1].isalpha() and hyphen[2].islower() else hyphen[1] + "-"
