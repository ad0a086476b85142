"""Where the lines of a PDF's page stand, and the paragraphs that they make; hyphens at line ends are resolved.

Measured against PDFium's bare text extraction: what is done for each line is done for all lines of a page at once, and
what is seldom needed is looked up where it is.
"""

import ctypes
import re
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import accumulate, pairwise, repeat
from operator import sub
from typing import Any

from forge_pipelines.sources.place import ItemError

_LINE = re.compile(r"\S(?:[^\n]*\S)?")
_HYPHENATED = re.compile(r"[\ufffe\x02\u00ad]\s?")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f]")
_HYPHENS = ("-", "\u2010")
_BULLETS = "\u2022\u2023\u25aa\u25cf\u25e6\u2043\u2219\u00b7\uf0b7"
_BULLET = re.compile(rf"[{_BULLETS}][ \t]*|[\u2013*-][ \t]+")
_LISTED = re.compile(rf"{_BULLET.pattern}|(?:\d{{1,3}}[.)]|\([a-z\d]\)|[a-z]\))[ \t]+\S")
_LISTED_BEGIN = frozenset(f"{_BULLETS}\u2013*-(0123456789")
_ENDS = (".", "!", "?", ":", "…", "»", "”", '."', "。")
_WIDE_GAP = 1.3
_INDENT = 0.5
_ROOM = 1.5
_DOUBLE_BYTES = 8
_UNITS = ctypes.POINTER(ctypes.c_ushort)


def page_text(page: Any) -> str:
    """Return the text layer of a page as paragraphs, list items among them.

    Raises:
        ItemError: the page is damaged.
    """
    raw = _pdfium()
    text_page = raw.FPDFText_LoadPage(page)
    if not text_page:
        raise ItemError("damaged", "is a PDF with a damaged page; save it again")
    try:
        text = _characters(text_page)
        lines = _Lines(text_page, text)
    finally:
        raw.FPDFText_ClosePage(text_page)
    return "\n\n".join(lines.paragraphs())


def _characters(text_page: Any) -> str:
    """Return all characters of a page; those without a meaning, at its ends, would make PDFium say nothing."""
    raw = _pdfium()
    count = raw.FPDFText_CountChars(text_page)
    first, last = 0, count - 1
    text_index = raw.FPDFText_GetTextIndexFromCharIndex
    while first <= last and text_index(text_page, first) < 0:
        first += 1
    while first <= last and text_index(text_page, last) < 0:
        last -= 1
    if first > last:
        return ""
    units = array("H", bytes(2 * (last - first + 2)))  # UTF-16, and a NUL at the end
    address = ctypes.cast(units.buffer_info()[0], _UNITS)
    num_units = raw.FPDFText_GetText(text_page, first, last - first + 1, address)
    return units[: max(num_units - 1, 0)].tobytes().decode("utf-16-le", "ignore")


class _Lines:
    """The lines of a page, or several that hyphens join: their texts, and where their ends stand, in points."""

    def __init__(self, text_page: Any, text: str) -> None:
        place = _places_on(text_page, text)
        spans = [line.span() for line in _LINE.finditer(text)]
        self.texts = [text[start:end] for start, end in spans]
        self._lefts, self._tops = place([start for start, _ in spans])
        self._rights, self._bottoms = place([end - 1 for _, end in spans])

    def paragraphs(self) -> Iterator[str]:
        """Yield the lines that belong together as one text each, and without what is no character."""
        for first, after in pairwise([*self.beginnings(), len(self.texts)]):
            text = self.joined(first, after)
            if not text.isprintable():
                text = _cleaned(text)
            if text:
                yield text

    def beginnings(self) -> Iterator[int]:
        """Yield which lines begin a paragraph."""
        texts, lefts = self.texts, self._lefts
        gaps = list(map(sub, self._bottoms, self._tops[1:]))
        ahead = sorted(gap for gap in gaps if gap > 0)
        usual = ahead[len(ahead) // 4] if ahead else 0.0  # most lines follow one within a paragraph
        widest, indent = _WIDE_GAP * usual, _INDENT * usual
        yield from range(min(1, len(texts)))
        for number, gap in enumerate(gaps, 1):
            text = texts[number]
            if (
                not 0 <= gap <= widest
                or ((text[0] in _LISTED_BEGIN or text[1:2] == ")") and _LISTED.match(text))
                or (lefts[number] - lefts[number - 1] > indent and texts[number - 1].endswith(_ENDS))
            ):
                yield number

    def joined(self, first: int, after: int) -> str:
        """Return lines as one paragraph."""
        paragraph = self.texts[first] if after - first == 1 else "".join(self._pieces(first, after))
        bullet = _BULLET.match(paragraph) if paragraph[0] in _LISTED_BEGIN else None
        return f"- {paragraph[bullet.end() :]}" if bullet else paragraph

    def _pieces(self, first: int, after: int) -> list[str]:
        texts, rights = self.texts, self._rights
        right = max(rights[first:after])
        pieces = texts[first : first + 1]
        for number in range(first + 1, after):
            before, text = texts[number - 1], texts[number]
            if before[-1] not in _HYPHENS or not before[-2:-1].isalnum():
                space = right - rights[number - 1]
                pieces.append("\n" if space > 0 and self._has_room(number, space) else " ")
            elif text[0].islower() and before[-2].isalpha():
                pieces[-1] = before[:-1]
            pieces.append(text)
        return pieces

    def _has_room(self, number: int, space: float) -> bool:
        """Tell whether a line's first word would have found room: the line end is meant, as in code and addresses."""
        text = self.texts[number]
        character_width = (self._rights[number] - self._lefts[number]) / max(len(text) - 1, 1)
        length = text.find(" ")
        word = len(text) if length < 0 else length
        return _ROOM * (word + 1) * character_width < space and self._tops[number] < self._bottoms[number - 1]


@cache
def _pdfium() -> Any:
    from pypdfium2 import raw

    return raw


@cache
def _char_origin() -> Callable[..., int]:
    """Return PDFium's function that tells where a character stands, called by addresses: half the cost of pointers."""
    addressed = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    return ctypes.cast(_pdfium().FPDFText_GetCharOrigin, addressed)


def _places_on(text_page: Any, text: str) -> Callable[[Sequence[int]], tuple[list[float], list[float]]]:
    """Return what tells how far to the right and how high characters of the text stand."""
    handle = ctypes.cast(text_page, ctypes.c_void_p).value
    index_of = _char_indices(text_page, text)

    def places(positions: Sequence[int]) -> tuple[list[float], list[float]]:
        num_bytes = _DOUBLE_BYTES * len(positions)
        x, y = array("d", bytes(num_bytes)), array("d", bytes(num_bytes))
        starts = (x.buffer_info()[0], y.buffer_info()[0])
        addresses = (range(start, start + num_bytes, _DOUBLE_BYTES) for start in starts)
        indices = positions if index_of is None else map(index_of, positions)
        deque(map(_char_origin(), repeat(handle), indices, *addresses), maxlen=0)
        return x.tolist(), y.tolist()

    return places


def _char_indices(text_page: Any, text: str) -> Callable[[int], int] | None:
    """Return what tells which of the page's characters stands at a place of its text; None where it is the same."""
    raw = _pdfium()
    if raw.FPDFText_CountChars(text_page) == len(text):
        return None
    index_of = partial(raw.FPDFText_GetCharIndexFromTextIndex, text_page)
    if text.isascii() or max(text) <= "\uffff":
        return index_of
    units = list(accumulate((2 if character > "\uffff" else 1 for character in text), initial=0))
    return lambda place: index_of(units[place])


def _cleaned(text: str) -> str:
    return _CONTROLS.sub("", _HYPHENATED.sub(_resolved, text))


def _resolved(hyphen: re.Match[str]) -> str:
    start, end = hyphen.span()
    before, after = hyphen.string[max(start - 1, 0) : start], hyphen.string[end : end + 1]
    return "" if before.isalpha() and after.islower() else "-"
