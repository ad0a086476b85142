"""Documents as columns: what is asked of many at once is asked without an object for each of them."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from forge_pipelines.manifest import Document, Segment

RowNumbers = npt.NDArray[np.int32] | npt.NDArray[np.int64]

SEGMENTS = pa.list_(pa.struct([("role", pa.string()), ("text", pa.large_string())]))
DOCUMENT_SCHEMA = pa.schema(
    [(field.name, SEGMENTS if field.name == "segments" else pa.string()) for field in fields(Document)]
)
LABELS = [name for name in DOCUMENT_SCHEMA.names if name != "segments"]

_BETWEEN_SEGMENTS = 2
_LEAST_RUN = 16
_NUMBERS = {pa.int32(): "i", pa.int64(): "q"}


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return rows as a table, None where a row does not name a column.

    That is `pa.Table.from_pylist` for columns of texts, segments, whole numbers (signed), yes or no, and bytes, of
    which only the first two may be None; but it does not load pandas, which takes longer than most tables.
    """
    columns = (column_of([row.get(field.name) for row in rows], field.type) for field in schema)
    return pa.Table.from_arrays([*columns], schema=schema)


def column_of(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return values as a column of a type that `table_of` knows; segments as mappings of role and text."""
    if kind == SEGMENTS:
        return _segments(values)
    if kind in {pa.large_string(), pa.large_binary()}:
        encoded = [value.encode() for value in values] if kind == pa.large_string() else values
        ends = array("q", accumulate(map(len, encoded), initial=0))
        return _array(kind, len(values), ends, b"".join(encoded))
    if kind == pa.string():
        texts = pa.lib.StringBuilder()
        texts.append_values(values)
        return texts.finish()
    if kind in _NUMBERS:
        return _array(kind, len(values), array(_NUMBERS[kind], values))
    if kind == pa.bool_():
        bits = sum(1 << number for number, value in enumerate(values) if value)
        return _array(kind, len(values), bits.to_bytes(len(values) // 8 + 1, "little"))
    return _array(kind, len(values), b"".join(values))


def _segments(values: Sequence[Sequence[Mapping[str, str]] | None]) -> pa.Array:
    ends = accumulate((len(value or ()) for value in values), initial=0)
    held = [*chain.from_iterable(value or () for value in values)]
    fields_held = [*SEGMENTS.value_type]
    columns = [column_of([segment[each.name] for segment in held], each.type) for each in fields_held]
    missing = column_of([value is None for value in values], pa.bool_())
    segments = pa.StructArray.from_arrays(columns, fields=fields_held)
    return pa.ListArray.from_arrays(column_of([*ends], pa.int32()), segments, mask=missing)


def _array(kind: pa.DataType, length: int, *buffers: "array[int] | bytes") -> pa.Array:
    return pa.Array.from_buffers(kind, length, [None, *map(pa.py_buffer, buffers)])


def table_of_documents(documents: Sequence[Document]) -> pa.Table:
    """Return documents as a table, `DOCUMENT_SCHEMA`."""
    columns = (
        [[asdict(segment) for segment in each.segments] for each in documents]
        if name == "segments"
        else [getattr(each, name) for each in documents]
        for name in DOCUMENT_SCHEMA.names
    )
    held = [column_of(column, field.type) for column, field in zip(columns, DOCUMENT_SCHEMA, strict=True)]
    return pa.Table.from_arrays(held, schema=DOCUMENT_SCHEMA)


def documents_of(table: pa.Table) -> list[Document]:
    """Return the documents of a table, `DOCUMENT_SCHEMA`."""
    columns = {name: table.column(name).to_pylist() for name in LABELS}
    columns["segments"] = segments_of(table.column("segments"))
    return [*map(Document, *(columns[name] for name in DOCUMENT_SCHEMA.names))]


def segments_of(column: pa.ChunkedArray) -> list[tuple[Segment, ...] | None]:
    """Return the segments of each row of a column, `SEGMENTS`; None where there are none."""
    roles, texts, ends = _flattened(column)
    held = [*map(Segment, roles.to_pylist(), texts.to_pylist())]
    present = column.is_valid().to_pylist()
    spans = zip(present, pairwise(ends.tolist()), strict=True)
    return [tuple(held[start:end]) if is_there else None for is_there, (start, end) in spans]


def forms_of(documents: pa.Table) -> list[list[tuple[str, int]]]:
    """Return role and length in characters of each segment of each document; no text is looked at on its own."""
    roles, texts, ends = _flattened(documents.column("segments"))
    forms = [*zip(roles.to_pylist(), pc.utf8_length(texts).to_pylist(), strict=True)]
    return [forms[start:end] for start, end in pairwise(ends.tolist())]


def rows_of(table: pa.Table, rows: RowNumbers) -> pa.Table:
    """Return some rows of a table, in the order that is told; those that stand one behind the other are not copied."""
    starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    if len(starts) * _LEAST_RUN > len(rows):
        return table.take(column_of(rows.tolist(), pa.int32()))
    lengths = np.diff(starts, append=len(rows))
    return pa.concat_tables([table.slice(0, 0), *map(table.slice, rows[starts].tolist(), lengths.tolist())])


def characters_of(documents: pa.Table, between: int = _BETWEEN_SEGMENTS) -> npt.NDArray[np.int64]:
    """Return the length of each document's canonical text, ``[documents]``.

    Args:
        documents: `DOCUMENT_SCHEMA`; each has a segment.
        between: how many characters count for what stands between two segments.
    """
    _, texts, ends = _flattened(documents.column("segments"))
    sums = np.concatenate([[0], np.cumsum(pc.utf8_length(texts).to_numpy() + between)])
    lengths: npt.NDArray[np.int64] = np.diff(sums[ends])
    return lengths - between


def _flattened(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray, npt.NDArray[np.int64]]:
    """Return roles and texts of all segments, and where those of each row end, after a 0."""
    held = pa.chunked_array([chunk.flatten() for chunk in column.chunks], SEGMENTS.value_type)
    roles, texts = held.flatten()
    counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    return roles, texts, np.concatenate([[0], np.cumsum(counts)])
