"""Documents, one after another, in sequences of a fixed length; and which document stands where in them.

A document is ``<s> tokens </s>``. What does not fit into a sequence goes on in the next as a piece of its own. A
piece's positions start at 0, by which attention stays within it, and its first token is never a label: nothing that
it may see precedes it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

NOT_A_LABEL = -100
_ROWS_A_BATCH = 256

SPAN_SCHEMA = pa.schema([(name, pa.int32()) for name in ("doc_index", "sequence", "start", "length")])


@dataclass(slots=True)
class _Sequence:
    """The sequence being filled; arrays of shape (T,)."""

    ids: NDArray[np.int32]
    positions: NDArray[np.int32]
    labels: NDArray[np.int32]
    filled: int = 0
    num_labels: int = 0

    @classmethod
    def empty(cls, length: int, pad_id: int) -> Self:
        return cls(
            np.full(length, pad_id, np.int32), np.zeros(length, np.int32), np.full(length, NOT_A_LABEL, np.int32)
        )

    def append(self, ids: NDArray[np.int32]) -> None:
        start, end = self.filled, self.filled + len(ids)
        self.ids[start:end] = ids
        self.positions[start:end] = np.arange(len(ids))
        self.labels[start + 1 : end] = ids[1:]
        self.filled, self.num_labels = end, self.num_labels + len(ids) - 1


@dataclass(slots=True)
class Packer:
    """Fills sequences and writes them to an Arrow file as they are full; a context manager.

    Args:
        path: the Arrow stream to write; columns as `forge_pipelines.shards.reading.Shards` describes.
        sequence_length: T, in tokens.
        pad_id: fills what remains of a corpus's last sequence.
    """

    path: Path
    sequence_length: int
    pad_id: int
    num_sequences: int = 0
    spans: list[tuple[int, int, int, int]] = field(default_factory=list)
    _writer: pa.ipc.RecordBatchStreamWriter = None
    _rows: list[_Sequence] = field(default_factory=list)
    _current: _Sequence | None = None

    @property
    def schema(self) -> pa.Schema:
        """The columns: three fixed-size lists of int32."""
        row = pa.list_(pa.int32(), self.sequence_length)
        return pa.schema([("input_ids", row), ("position_ids", row), ("labels", row)])

    def add(self, doc_index: int, ids: NDArray[np.int32]) -> int:
        """Append a document's token ids, shape (n,); return how many of them are labels."""
        labels = 0
        while len(ids):
            current = self._current or _Sequence.empty(self.sequence_length, self.pad_id)
            self._current = current
            piece, ids = np.split(ids, [min(self.sequence_length - current.filled, len(ids))])
            self.spans.append((doc_index, self.num_sequences, current.filled, len(piece)))
            current.append(piece)
            labels += len(piece) - 1
            if current.filled == self.sequence_length:
                self.finish_sequence()
        return labels

    def finish_sequence(self) -> None:
        """Close the sequence being filled, padded; one without a label is dropped, and its pieces with it."""
        if self._current is None:
            return
        if self._current.num_labels:
            self._rows.append(self._current)
            self.num_sequences += 1
        else:
            self.spans = [span for span in self.spans if span[1] != self.num_sequences]
        self._current = None
        if len(self._rows) == _ROWS_A_BATCH:
            self._flush()

    def write_spans(self, path: Path) -> None:
        """Write which document stands where: ``doc_index``, ``sequence``, ``start``, ``length`` (tokens), as int32."""
        columns = np.asarray(self.spans, dtype=np.int32).reshape(-1, 4).T
        pq.write_table(pa.table(list(columns), schema=SPAN_SCHEMA), path, compression="zstd")

    def _flush(self) -> None:
        if self._rows:
            columns = [list(self._column(name)) for name in ("ids", "positions", "labels")]
            arrays = [
                pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(column)), self.sequence_length)
                for column in columns
            ]
            self._writer.write_batch(pa.record_batch(arrays, schema=self.schema))
            self._rows = []

    def _column(self, name: str) -> Iterator[NDArray[np.int32]]:
        return (getattr(row, name) for row in self._rows)

    def __enter__(self) -> Self:
        """Open the file."""
        self._writer = pa.ipc.new_stream(str(self.path), self.schema)
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        """Write what remains and close the file."""
        if failure is None:
            self.finish_sequence()
            self._flush()
        self._writer.close()
