"""Records as tables with a header: CSV and TSV by the row, and the sheets of Excel's documents."""

import codecs
import csv
import io
from collections.abc import Collection, Iterator
from functools import partial
from itertools import islice
from typing import Any, TextIO

from forge_pipelines.sources.place import ItemError, Refusal
from forge_pipelines.sources.readers import workbook
from forge_pipelines.sources.readers.package import open_archive, open_package
from forge_pipelines.sources.readers.reading import Content
from forge_pipelines.sources.readers.record_stream import HEAD_BYTES, LONGEST_BYTES, held, open_stream
from forge_pipelines.sources.readers.record_table import Row, Table

_MEDIA_TYPES = {"\t": "text/tab-separated-values", ";": "text/csv", ",": "text/csv"}
_LONGEST_NAME = 80
_MOST_ROWS = 1_048_576
_CONTENT_TYPES = "[Content_Types].xml"
_WORKBOOKS = (b"spreadsheetml.sheet.main+xml", b"ms-excel.sheet.macroEnabled.main+xml")


def delimited_table(content: Content, head: bytes, known: Collection[str]) -> Table | None:
    """Return the records of a CSV or TSV file; None where the beginning is no table's.

    Args:
        content: the file.
        head: its beginning, unpacked.
        known: names of columns, any of which makes a table of one column a table.
    """
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head, len(head) < HEAD_BYTES)
    except UnicodeDecodeError:
        return None
    for delimiter, media_type in _MEDIA_TYPES.items():
        columns = _header(text, delimiter, len(head) == HEAD_BYTES)
        if columns and (len(columns) > 1 or columns[0] in known):
            return Table(media_type, columns, True, partial(_delimited_rows, content, encoding, delimiter))
    return None


def workbook_table(content: Content) -> Table | None:
    """Return the records of an Excel document, one sheet after the other, each under its own header; None for others.

    Raises:
        ItemError: the file is damaged, encrypted, or too large.
    """
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    packed = held(content)
    archive = open_archive(packed)
    if _CONTENT_TYPES not in archive.namelist():
        return None
    package = open_package(packed, archive)
    types = package.member(_CONTENT_TYPES)
    if not any(kind in types for kind in _WORKBOOKS):
        return None
    try:
        book = openpyxl.load_workbook(package.file(), read_only=True, data_only=True)
        headers = [next(_filled(sheet), ()) for sheet in book.worksheets]
    except (InvalidFileException, KeyError, ValueError, SyntaxError) as error:
        raise ItemError("damaged", f"is a damaged Excel document: {str(error).partition(chr(10))[0]}") from error
    columns = tuple(dict.fromkeys(str(name) for names in headers for name in names if name is not None))
    return Table(workbook.MEDIA_TYPE, columns, False, lambda _: _workbook_rows(book))


def _header(text: str, delimiter: str, is_cut: bool) -> tuple[str, ...]:
    """Return the names that head a table; nothing where the first rows are none."""
    lines = text.splitlines(keepends=True)
    rows = csv.reader(lines[:-1] if is_cut and len(lines) > 1 else lines, delimiter=delimiter, strict=True)
    filled = filter(None, rows)
    try:
        names = next(filled, [])
    except csv.Error:
        return ()
    try:
        width = len(next(filled, names if is_cut else []))
    except csv.Error:  # a first record that is longer than what is looked at
        width = len(names) if is_cut else 0
    fits = width == len(names) == len(set(names)) and all(_is_name(name) for name in names)
    return tuple(names) if fits else ()


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_NAME and text == text.strip() and text.isprintable()


def _delimited_rows(
    content: Content, encoding: str, delimiter: str, _wanted: Collection[str] | None
) -> Iterator[Row | Refusal]:
    csv.field_size_limit(LONGEST_BYTES)
    with open_stream(content) as binary, io.TextIOWrapper(binary, encoding, newline="") as file:
        rows = csv.reader(_lines(file), delimiter=delimiter, strict=True)
        try:
            filled = filter(None, rows)
            names = next(filled)
            for row in filled:
                yield _named(names, row)
        except csv.Error as error:
            reason = f"is a damaged table: {error} in line {rows.line_num}; correct it there"
            raise ItemError("damaged", reason) from error
        except UnicodeDecodeError as error:
            reason = f"is not {encoding.removesuffix('-sig').upper()}: {error.reason}; save it as UTF-8"
            raise ItemError("not_text", reason) from error


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(LONGEST_BYTES + 1):
        if len(line) > LONGEST_BYTES:
            raise ItemError("too_large", f"is one record of more than {LONGEST_BYTES:,} bytes")
        yield line


def _named(names: list[str], row: list[str]) -> Row | Refusal:
    if len(row) == len(names):
        return dict(zip(names, row, strict=True))
    fields = f"{len(row)} fields where the header names {len(names)}"
    return Refusal("damaged", f"has {fields}; put fields that hold the delimiter in quotes", ", ".join(row)[:200])


def _workbook_rows(book: Any) -> Iterator[Row]:
    for sheet in book.worksheets:
        rows = _filled(sheet)
        names = next(rows, ())
        for row in rows:
            yield {str(name): value for name, value in zip(names, row, strict=False) if name is not None}


def _filled(sheet: Any) -> Iterator[tuple[Any, ...]]:
    sheet.reset_dimensions()  # what the sheet declares may be a million empty columns
    for row in islice(sheet.iter_rows(values_only=True), _MOST_ROWS):
        if any(value is not None for value in row):
            yield row
