"""Documents and rejections as Parquet: the one place that knows their columns."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forge_pipelines.manifest import Document, Rejection, Segment

BATCH_ROWS = 512
BATCH_CHARACTERS = 32 << 20
"""A batch ends at either: it is what writer and reader hold in memory."""

_SEGMENTS = pa.list_(pa.struct([("role", pa.string()), ("text", pa.large_string())]))
DOCUMENT_SCHEMA = pa.schema(
    [(field.name, _SEGMENTS if field.name == "segments" else pa.string()) for field in fields(Document)]
)
REJECTION_SCHEMA = pa.schema([(field.name, pa.string()) for field in fields(Rejection)])


class TableWriter:
    """Writes rows of one schema to a Parquet file (zstd), a batch at a time; a context manager."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        # Statistics would compare whole texts (a document of 200 MB takes 15 s instead of 0.3), and nobody asks them.
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", write_statistics=False)
        self._rows: list[dict[str, Any]] = []
        self._num_characters = 0
        self.num_rows = 0

    def add(self, row: Document | Rejection) -> None:
        """Append one row; it reaches the disk with its batch."""
        self._rows.append(asdict(row))
        self.num_rows += 1
        if isinstance(row, Document):
            self._num_characters += sum(len(segment.text) for segment in row.segments)
        if len(self._rows) == BATCH_ROWS or self._num_characters >= BATCH_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows, self._num_characters = [], 0

    def __enter__(self) -> "TableWriter":
        """Return the writer itself."""
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        """Write what remains and close the file."""
        with self._writer:
            if failure is None:
                self._flush()


def documents_writer(path: Path) -> TableWriter:
    """Open a writer of `Document` rows."""
    return TableWriter(path, DOCUMENT_SCHEMA)


def rejections_writer(path: Path) -> TableWriter:
    """Open a writer of `Rejection` rows."""
    return TableWriter(path, REJECTION_SCHEMA)


def read_documents(path: Path) -> Iterator[Document]:
    """Yield the documents of a Parquet file in their order, in memory a batch at a time."""
    for row in _rows(path):
        segments = tuple(Segment(**segment) for segment in row.pop("segments"))
        yield Document(segments=segments, **row)


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
