"""Tables as text (csv, tsv): accepted only where the beginning is a table beyond doubt; prose has commas, too."""

import codecs
import csv
import re

from forge_pipelines.sources.readers import markdown, text
from forge_pipelines.sources.readers.encoding import decode
from forge_pipelines.sources.readers.reading import Reading

_MEDIA_TYPES = {"\t": "text/tab-separated-values", ";": "text/csv", ",": "text/csv"}
_FEWEST_ROWS = 3
_SNIFFED_CHARACTERS = 4096
_NAME = re.compile(r"[^\W\d_][\w\ufffd ./%°&*#$€-]{0,60}(?:[(\[][^()\[\]]{0,20}[)\]])?")


def accepts(head: bytes) -> bool:
    """Accept three lines or more of equally many fields, headed by names that all differ."""
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    return _delimiter(head.decode(encoding, "replace")) is not None


def read(content: bytes) -> Reading:
    """Return the table; a file that is none to its end is plain text.

    Raises:
        ItemError: the file is not text.
    """
    whole = decode(content)
    delimiter = _delimiter(whole)
    lines = whole.removeprefix("\ufeff").splitlines(keepends=True)
    rows = [] if delimiter is None else _rows(lines, delimiter, strict=True)
    if delimiter is None or len({len(row) for row in rows}) != 1:
        return text.read(content)
    return Reading(markdown.table(rows), _MEDIA_TYPES[delimiter])


def _delimiter(head: str) -> str | None:
    is_cut = len(head) > _SNIFFED_CHARACTERS
    lines = head[:_SNIFFED_CHARACTERS].removeprefix("\ufeff").splitlines(keepends=True)
    for delimiter in _MEDIA_TYPES:
        if lines and delimiter in lines[0]:
            rows = _rows(lines, delimiter, strict=not is_cut)
            if _is_table(rows[:-1] if is_cut else rows, delimiter):
                return delimiter
    return None


def _is_table(rows: list[list[str]], delimiter: str) -> bool:
    return (
        len(rows) >= _FEWEST_ROWS
        and len(set(rows[0])) == len(rows[0]) > 1
        and all(_NAME.fullmatch(name) for name in rows[0])
        and all(len(row) == len(rows[0]) for row in rows)
        and not (delimiter == "," and any(field.startswith(" ") for row in rows for field in row))
    )


def _rows(lines: list[str], delimiter: str, strict: bool) -> list[list[str]]:
    """Return the rows; none where the quotes are not those of a table."""
    try:
        return [row for row in csv.reader(lines, delimiter=delimiter, strict=strict) if row]
    except csv.Error:
        return []
