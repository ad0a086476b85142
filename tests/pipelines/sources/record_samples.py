"""Data sets in every format, made by the libraries that write them, and what became of their records."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

from forge_pipelines.sources.places.config import RecordColumns
from forge_pipelines.sources.readers.reading import Begun, Content, Part, Reading, ReadingOptions, Record
from forge_pipelines.sources.readers.unfolding import read

Row = dict[str, Any]


def json_lines(*rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def json_list(*rows: Any) -> bytes:
    return json.dumps(rows, indent=2).encode()


def parquet(*rows: Row) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), file, row_group_size=2)
    return file.getvalue()


def arrow_file(*rows: Row) -> bytes:
    table, file = pa.Table.from_pylist(list(rows)), io.BytesIO()
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


def arrow_stream(*rows: Row) -> bytes:
    table, file = pa.Table.from_pylist(list(rows)), io.BytesIO()
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    return file.getvalue()


def delimited(*rows: Row, delimiter: str = ",") -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def tab_separated(*rows: Row) -> bytes:
    return delimited(*rows, delimiter="\t")


def workbook(*rows: Row) -> bytes:
    book, file = openpyxl.Workbook(), io.BytesIO()
    first, second = book.active, book.create_sheet("more")
    for sheet, some in ((first, rows[:1]), (second, rows[1:])):
        sheet.append(list(rows[0]))
        for row in some:
            sheet.append(list(row.values()))
    book.save(file)
    return file.getvalue()


FORMATS = [json_lines, json_list, parquet, arrow_file, arrow_stream, delimited, tab_separated, workbook]


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def parts(content: Content, kind: Any = "text", **columns: str) -> list[Part]:
    """Return every part of a file of records, as its source would read it."""
    options = ReadingOptions(record_kind=kind, record_columns=RecordColumns(**columns))
    return [part for part in read(content, options) if not isinstance(part, Begun)]


def said(part: Part) -> Any:
    """Return a part's text, its speakers with what they say, or the rule that refused it."""
    outcome = part.outcome
    if isinstance(outcome, Reading):
        return outcome.text
    if isinstance(outcome, Record):
        return [(segment.role, segment.text) for segment in outcome.segments]
    return outcome and outcome.rule


def records(content: Content, kind: Any = "text", **columns: str) -> dict[str, Any]:
    """Return what the records of a file say, by their paths."""
    return {part.path: said(part) for part in parts(content, kind, **columns) if part.path}


def reasons(content: Content, kind: Any = "text", **columns: str) -> dict[str, str]:
    """Return why records, or the file itself, were refused, by their paths."""
    found = {part.path: part.outcome for part in parts(content, kind, **columns)}
    return {path: outcome.reason for path, outcome in found.items() if outcome and hasattr(outcome, "reason")}


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
