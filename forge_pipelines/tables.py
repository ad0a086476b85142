"""Documents and rejections as Parquet files: the one place that writes and reads them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forge_pipelines.columns import DOCUMENT_SCHEMA, LABELS, characters_of, documents_of, table_of
from forge_pipelines.manifest import Document, Rejection, Segment

BATCH_ROWS = 512
BATCH_CHARACTERS = 32 << 20
"""A batch ends at either: it is what writer and reader hold in memory."""

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
        self._tables: list[pa.Table] = []
        self._num_waiting = self._num_characters = 0
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
        self._note(1, 0)

    def add_documents(self, documents: pa.Table) -> None:
        """Append documents, `DOCUMENT_SCHEMA`: the file is the one that adding them one by one gives."""
        characters = np.concatenate([[0], np.cumsum(characters_of(documents, between=0))])
        start = 0
        while start < len(documents):
            room = self._batch_characters - self._num_characters
            full = int(np.searchsorted(characters, characters[start] + room))
            end = min(start + BATCH_ROWS - self._num_waiting, max(full, start + 1), len(documents))
            self._gather()
            self._tables.append(documents.slice(start, end - start))
            self._note(end - start, int(characters[end] - characters[start]))
            start = end

    def _note(self, num_rows: int, num_characters: int) -> None:
        self.num_rows += num_rows
        self._num_waiting += num_rows
        self._num_characters += num_characters
        if self._num_waiting == BATCH_ROWS or self._num_characters >= self._batch_characters:
            self._flush()

    def _gather(self) -> None:
        if self._rows:
            self._tables.append(table_of(self._rows, self._schema))
            self._rows = []

    def _flush(self) -> None:
        self._gather()
        if self._tables:
            batch = pa.concat_tables(self._tables).combine_chunks()
            self._tables, self._num_waiting, self._num_characters = [], 0, 0
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


def documents_writer(path: Path, batch_characters: int = BATCH_CHARACTERS) -> TableWriter:
    """Open a writer of `Document` rows, which holds so many characters at most, and a document."""
    return TableWriter(path, DOCUMENT_SCHEMA, batch_characters)


def rejections_writer(path: Path) -> TableWriter:
    """Open a writer of `Rejection` rows."""
    return TableWriter(path, REJECTION_SCHEMA)


def read_documents(path: Path) -> Iterator[Document]:
    """Yield the documents of a Parquet file in their order, in memory a batch at a time."""
    for table in read_document_tables(path):
        yield from documents_of(table)


def read_document_tables(path: Path) -> Iterator[pa.Table]:
    """Yield the documents of a Parquet file in their order, as tables of at most 512 rows, `DOCUMENT_SCHEMA`."""
    with pq.ParquetFile(path) as table:
        for group in range(table.num_row_groups):
            for batch in table.iter_batches(batch_size=BATCH_ROWS, row_groups=[group]):
                yield pa.Table.from_batches([batch])


def read_labels(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield all but the segments of each document of a Parquet file, by the names of `Document`; no text is read."""
    with pq.ParquetFile(path) as table:
        for group in range(table.num_row_groups):
            yield from table.read_row_group(group, columns=LABELS).to_pylist()


def find_documents(path: Path, is_wanted: Callable[[Mapping[str, Any]], bool]) -> Iterator[Document]:
    """Yield some documents of a Parquet file in their order; of a batch without one of them no text is read.

    Args:
        path: the file.
        is_wanted: tells by a document's labels, see `read_labels`, if it is one of them.
    """
    with pq.ParquetFile(path) as table:
        for group in range(table.num_row_groups):
            rows = table.read_row_group(group, columns=LABELS).to_pylist()
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
