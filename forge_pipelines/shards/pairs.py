"""Pairs of a better and a worse answer, a row each; and which document is which row."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forge_pipelines.shards.packing import Span, write_spans

_ROWS_A_BATCH = 256
_IDS = pa.list_(pa.int32())
_SCHEMA = pa.schema([("prompt_ids", _IDS), ("chosen_ids", _IDS), ("rejected_ids", _IDS)])


@dataclass(frozen=True, slots=True)
class Pair:
    """A better and a worse answer to a prompt: token ids, shapes (p,), (c,) and (r,)."""

    prompt: NDArray[np.int32]
    chosen: NDArray[np.int32]
    rejected: NDArray[np.int32]

    @property
    def num_labels(self) -> int:
        """Tokens of both answers."""
        return len(self.chosen) + len(self.rejected)

    @property
    def num_tokens(self) -> int:
        """Tokens of the prompt and of both answers."""
        return len(self.prompt) + self.num_labels


@dataclass(slots=True)
class PairFile:
    """Writes pairs to an Arrow file; a context manager.

    Args:
        path: the Arrow stream to write; columns as `forge_pipelines.shards.reading.Shards` describes.
    """

    path: Path
    num_sequences: int = 0
    spans: list[Span] = field(default_factory=list)
    _writer: pa.ipc.RecordBatchStreamWriter = None
    _rows: list[Pair] = field(default_factory=list)

    def add(self, doc_index: int, pair: Pair) -> None:
        """Append a pair as the next row."""
        self.spans.append((doc_index, self.num_sequences, 0, pair.num_tokens))
        self.num_sequences += 1
        self._rows.append(pair)
        if len(self._rows) == _ROWS_A_BATCH:
            self._flush()

    def write_spans(self, path: Path) -> None:
        """Write which document is which row; see `forge_pipelines.shards.packing.write_spans`."""
        write_spans(self.spans, path)

    def _flush(self) -> None:
        columns = zip(*((row.prompt, row.chosen, row.rejected) for row in self._rows), strict=True)
        self._writer.write_batch(pa.record_batch([pa.array(column, _IDS) for column in columns], schema=_SCHEMA))
        self._rows = []

    def __enter__(self) -> Self:
        """Open the file."""
        self._writer = pa.ipc.new_stream(str(self.path), _SCHEMA)
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        """Write what remains and close the file."""
        if failure is None and self._rows:
            self._flush()
        self._writer.close()
