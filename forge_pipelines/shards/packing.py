"""Documents in sequences of a fixed length; and which document stands where in them.

A text is ``<s> tokens </s>``. What does not fit into a sequence goes on in the next as a piece of its own. A record,
such as a chat, is never cut: records fill sequences by best fit, the longest first (Johnson, 1974). A piece's positions
start at 0, by which attention stays within it, and its first token is never a label: nothing that it may see precedes
it.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
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
Span = tuple[int, int, int, int]
"""Which document stands where: its number, the sequence, the first token of it there, and how many."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record that is learned from as a whole: token ids and labels, shape (n,); the first is no label.

    Attributes:
        num_left_out: answers of a chat that are not among the labels.
    """

    ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    num_left_out: int = 0

    @property
    def num_labels(self) -> int:
        """Tokens that are learned."""
        return int(np.count_nonzero(self.labels != NOT_A_LABEL))

    @property
    def num_tokens(self) -> int:
        """Tokens in all."""
        return len(self.ids)


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

    def append(self, piece: Record) -> None:
        start, end = self.filled, self.filled + piece.num_tokens
        self.ids[start:end] = piece.ids
        self.positions[start:end] = np.arange(piece.num_tokens)
        self.labels[start:end] = piece.labels
        self.filled, self.num_labels = end, self.num_labels + piece.num_labels


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
    spans: list[Span] = field(default_factory=list)
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
            room = self.sequence_length - (self._current.filled if self._current else 0)
            piece, ids = np.split(ids, [min(room, len(ids))])
            self._append(doc_index, Record(piece, np.append(np.int32(NOT_A_LABEL), piece[1:])))
            labels += len(piece) - 1
            if len(piece) == room:
                self.finish_sequence()
        return labels

    def add_records(self, first_index: int, records: Sequence[Record]) -> None:
        """Append records as wholes, in sequences that hold nothing else; documents are numbered from an index on."""
        for sequence in best_fit([record.num_tokens for record in records], self.sequence_length):
            for number in sequence:
                self._append(first_index + number, records[number])
            self.finish_sequence()

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
        write_spans(self.spans, path)

    def _append(self, doc_index: int, piece: Record) -> None:
        current = self._current or _Sequence.empty(self.sequence_length, self.pad_id)
        self._current = current
        self.spans.append((doc_index, self.num_sequences, current.filled, piece.num_tokens))
        current.append(piece)

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


def best_fit(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Share things out over bins: the longest first, each into the fullest bin that has room for it, else a new one.

    Args:
        lengths: of each thing, at most ``room``.
        room: of each bin.

    Returns:
        For each bin the numbers of its things. Of equal things the first, and of equal bins the oldest is taken.
    """
    bins: list[list[int]] = []
    open_bins: list[tuple[int, int]] = []  # room that is left and number, ascending
    for thing in sorted(range(len(lengths)), key=lambda thing: -lengths[thing]):
        place = bisect_left(open_bins, (lengths[thing], 0))
        left, number = open_bins.pop(place) if place < len(open_bins) else (room, len(bins))
        if number == len(bins):
            bins.append([])
        bins[number].append(thing)
        insort(open_bins, (left - lengths[thing], number))
    return bins


def write_spans(spans: Sequence[Span], path: Path) -> None:
    """Write which document stands where: ``doc_index``, ``sequence``, ``start``, ``length`` (tokens), as int32."""
    columns = np.asarray(spans, dtype=np.int32).reshape(-1, 4).T
    pq.write_table(pa.table(list(columns), schema=SPAN_SCHEMA), path, compression="zstd")
