"""How readers write structure down: headings, lists, tables and code as Markdown."""

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import groupby
from typing import NamedTuple

_FENCES = re.compile(r"^`{3,}", re.MULTILINE)


class Kind(Enum):
    """What a piece of a flowing document is; neighbours of one kind stand together, paragraphs stand apart."""

    PARAGRAPH = "\n\n"
    ITEM = "\n"
    CODE = ""


class Piece(NamedTuple):
    """A piece of a flowing document, in Markdown (code as it is)."""

    kind: Kind
    text: str


def one_line(text: str) -> str:
    """Return the text with every run of white space as one space."""
    return " ".join(text.split())


def heading(level: int, text: str) -> str:
    """Return a heading; Markdown knows six levels."""
    return f"{'#' * min(max(level, 1), 6)} {one_line(text)}"


def item(text: str, level: int = 0, marker: str = "-") -> str:
    """Return a list's item, its further lines under its first; ``level`` counts the lists around its own."""
    lines = text.split("\n")
    margin = "  " * level + " " * (len(marker) + 1)
    rest = (margin + line if line else "" for line in lines[1:])
    return "\n".join(["  " * level + f"{marker} {lines[0]}", *rest])


def fence(code: str, language: str = "") -> str:
    """Return the code between fences that are longer than any inside."""
    marks = "`" * max([3, *(len(marks) + 1 for marks in _FENCES.findall(code))])
    code_lines = code.strip("\n")
    return f"{marks}{language}\n{code_lines}\n{marks}"


def table(rows: Iterable[Sequence[str]]) -> str:
    """Return a table headed by its first row that is not empty; empty rows and the columns after the last text go."""
    filled = [row for row in ([_cell(text) for text in row] for row in rows) if any(row)]
    width = max((_width(row) for row in filled), default=0)
    lines = ["| " + " | ".join([*row[:width], *[""] * (width - len(row))]) + " |" for row in filled]
    return "\n".join([*lines[:1], "|" + " --- |" * width, *lines[1:]]) if lines else ""


def join(blocks: Iterable[str]) -> str:
    """Return the blocks that are not blank, a blank line between them."""
    return "\n\n".join(block for block in blocks if block.strip())


def join_pieces(pieces: Iterable[Piece]) -> str:
    """Return flowing pieces as one text: a list's items in following lines, following lines of code in one fence."""
    blocks: list[str] = []
    for kind, run in groupby((piece for piece in pieces if piece.text.strip()), key=lambda piece: piece.kind):
        texts = [piece.text for piece in run]
        blocks.append(fence("\n".join(texts)) if kind is Kind.CODE else kind.value.join(texts))
    return join(blocks)


def _cell(text: str) -> str:
    return one_line(text).replace("|", r"\|")


def _width(row: Sequence[str]) -> int:
    return max(number for number, text in enumerate(row, 1) if text)
