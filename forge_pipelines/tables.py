"""Documents and rejections as Parquet: the one place that knows their columns."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forge_pipelines.manifest import Document, Rejection, Segment

BATCH_ROWS = 512
BATCH_CHARACTERS = 32 << 20
"""A batch ends at either: it is what writer and reader hold in memory."""

SEGMENTS = pa.list_(pa.struct([("role", pa.string()), ("text", pa.large_string())]))
DOCUMENT_SCHEMA = pa.schema(
    [(field.name, SEGMENTS if field.name == "segments" else pa.string()) for field in fields(Document)]
)
_LABELS = [name for name in DOCUMENT_SCHEMA.names if name != "segments"]
REJECTION_SCHEMA = pa.schema([(field.name, pa.string()) for field in fields(Rejection)])


class TableWriter:
    """Writes rows of one schema to a Parquet file (zstd), a batch at a time; a context manager.

    A batch is compressed and written while the next one is gathered.

    Raises:
        OSError: the disk is full; it comes with a later row, or at the end.
    """

    def __init__(self, path: Path, schema: pa.Schema, batch_characters: int = BATCH_CHARACTERS) -> None:
        self._schema = schema
        self._batch_characters = batch_characters
        # Statistics would compare whole texts (a document of 200 MB takes 15 s instead of 0.3), and nobody asks them.
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", write_statistics=False)
        self._rows: list[dict[str, Any]] = []
        self._num_characters = 0
        self._aside = ThreadPoolExecutor(max_workers=1)
        self._writing: Future[None] | None = None
        self.num_rows = 0

    def add(self, row: Document | Rejection) -> None:
        """Append one row; it reaches the disk with its batch."""
        columns = {name: getattr(row, name) for name in self._schema.names}
        if isinstance(row, Document):
            columns["segments"] = [{"role": each.role, "text": each.text} for each in row.segments]
            self._num_characters += sum(len(each.text) for each in row.segments)
        self._rows.append(columns)
        self.num_rows += 1
        if len(self._rows) == BATCH_ROWS or self._num_characters >= self._batch_characters:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            batch = table_of(self._rows, self._schema)
            self._rows, self._num_characters = [], 0
            self._await_written()
            self._writing = self._aside.submit(self._writer.write_table, batch)

    def _await_written(self) -> None:
        if self._writing is not None:
            self._writing.result()

    def __enter__(self) -> "TableWriter":
        """Return the writer itself."""
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        """Write what remains and close the file."""
        with self._writer, self._aside:
            if failure is None:
                self._flush()
                self._await_written()


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return rows as a table, None where a row does not name a column.

    That is `pa.Table.from_pylist` for columns of texts, segments, whole numbers (32 bits), yes or no, and bytes, of
    which only the first two may be None; but it does not load pandas, which takes longer than most tables.
    """
    columns = (_column([row.get(field.name) for row in rows], field.type) for field in schema)
    return pa.Table.from_arrays([*columns], schema=schema)


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
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
    if kind == pa.int32():
        return _array(kind, len(values), array("i", values))
    if kind == pa.bool_():
        bits = sum(1 << number for number, value in enumerate(values) if value)
        return _array(kind, len(values), bits.to_bytes(len(values) // 8 + 1, "little"))
    return _array(kind, len(values), b"".join(values))


def _segments(values: Sequence[Sequence[Mapping[str, str]] | None]) -> pa.Array:
    ends = accumulate((len(value or ()) for value in values), initial=0)
    held = [*chain.from_iterable(value or () for value in values)]
    fields_held = [*SEGMENTS.value_type]
    columns = [_column([segment[each.name] for segment in held], each.type) for each in fields_held]
    missing = _column([value is None for value in values], pa.bool_())
    segments = pa.StructArray.from_arrays(columns, fields=fields_held)
    return pa.ListArray.from_arrays(_column([*ends], pa.int32()), segments, mask=missing)


def _array(kind: pa.DataType, length: int, *buffers: "array[int] | bytes") -> pa.Array:
    return pa.Array.from_buffers(kind, length, [None, *map(pa.py_buffer, buffers)])


def documents_writer(path: Path, batch_characters: int = BATCH_CHARACTERS) -> TableWriter:
    """Open a writer of `Document` rows, which holds so many characters at most, and a document."""
    return TableWriter(path, DOCUMENT_SCHEMA, batch_characters)


def rejections_writer(path: Path) -> TableWriter:
    """Open a writer of `Rejection` rows."""
    return TableWriter(path, REJECTION_SCHEMA)


def read_documents(path: Path) -> Iterator[Document]:
    """Yield the documents of a Parquet file in their order, in memory a batch at a time."""
    for row in _rows(path):
        segments = tuple(Segment(**segment) for segment in row.pop("segments"))
        yield Document(segments=segments, **row)


def read_labels(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield all but the segments of each document of a Parquet file, by the names of `Document`; no text is read."""
    with pq.ParquetFile(path) as table:
        for group in range(table.num_row_groups):
            yield from table.read_row_group(group, columns=_LABELS).to_pylist()


def find_documents(path: Path, is_wanted: Callable[[Mapping[str, Any]], bool]) -> Iterator[Document]:
    """Yield some documents of a Parquet file in their order; of a batch without one of them no text is read.

    Args:
        path: the file.
        is_wanted: tells by a document's labels, see `read_labels`, if it is one of them.
    """
    with pq.ParquetFile(path) as table:
        for group in range(table.num_row_groups):
            rows = table.read_row_group(group, columns=_LABELS).to_pylist()
            wanted = [row for row, labels in enumerate(rows) if is_wanted(labels)]
            if wanted:
                texts = table.read_row_group(group, columns=["segments"]).column("segments").take(wanted)
                for row, segments in zip(wanted, texts, strict=True):
                    yield Document(segments=tuple(Segment(**each) for each in segments.as_py()), **rows[row])


def read_rejections(path: Path) -> Iterator[Rejection]:
    """Yield the rejections of a Parquet file in their order."""
    for row in _rows(path):
        yield Rejection(**row)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as table:
        for group in range(table.num_row_groups):
            for batch in table.iter_batches(batch_size=BATCH_ROWS, row_groups=[group]):
                yield from batch.to_pylist()


def sample(rows: Iterable[Any], count: int) -> list[Any]:
    """Return the first ``count`` rows."""
    return list(islice(rows, count))
