"""What became of documents under some rules, remembered from run to run: only what is new is done.

Results stand in `chunks`, under a key that is a hash of all that they depend on. A run reads its documents in the order
in which the run before did, so of each earlier run one chunk is open at a time. When there are too many runs, or too
much that nothing asks for, a run writes all that it uses once more and removes the rest.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from forge_pipelines.chunks import ForgottenError, chunks_in, read_chunk, read_columns, write_chunk
from forge_pipelines.columns import documents_of, rows_of, table_of
from forge_pipelines.engine.work import Engine, Work
from forge_pipelines.manifest import Document

KEY_BYTES = 16
MOST_RUNS = 16
"""After so many runs, all that is used is written once more."""

_LEAST_USED = 0.8
_FEW_ROWS = 1024
_CHUNK_ROWS = 2048
_CHUNK_BYTES = 4 << 20
_CHUNK_SECONDS = 20.0
"""A chunk ends at any of these: a run that is killed does again what its last chunk would have held."""

_OPEN_BYTES = 64 << 20
_WAITING_BYTES = 4 << 20
"""Documents that wait for the fates of a few of them."""

_AT_ONCE = 64
"""Unknown documents of several batches that are worth being given to a process."""

Result = TypeVar("Result")


class ResultTable(Protocol[Result]):
    """How results stand in rows."""

    schema: pa.Schema

    def row(self, result: Result, /) -> Mapping[str, Any]:
        """Return a result as a row."""

    def values(self, rows: pa.Table, /) -> list[Result]:
        """Return the results that rows hold."""


class Remembered:
    """Results by their keys, in a folder that one run at a time works in."""

    def __init__(self, folder: Path, table: ResultTable[Any], num_live: int) -> None:
        """Look at what is there.

        Args:
            folder: is made if it is not there.
            table: how results stand in rows.
            num_live: about how many results will be asked for.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._table, self._num_live = folder, table, num_live
        self._schema = pa.schema([("key", pa.binary(KEY_BYTES)), *table.schema])
        self._chunks = chunks_in(folder)
        self._hashes, self._places = self._index()
        runs = sorted({path.name.partition("-")[0] for path in self._chunks})
        self._run = int(runs[-1]) + 1 if runs else 0
        self._is_renewed = len(runs) >= MOST_RUNS or len(self._hashes) * _LEAST_USED > num_live + _FEW_ROWS
        self._open: OrderedDict[int, pa.Table] = OrderedDict()
        self._rows: list[Mapping[str, Any]] = []
        self._num_bytes = self._num_written = 0
        self._written_at = time.monotonic()

    @property
    def is_rich(self) -> bool:
        """Whether most of what will be asked for may be known."""
        return len(self._hashes) >= self._num_live * _LEAST_USED

    def find(self, keys: Sequence[bytes]) -> list[Any]:
        """Return the result of each key, or None where it is not known."""
        chunks, rows = self._located(keys)
        results: list[Any] = [None] * len(keys)
        for chunk in np.unique(chunks[chunks >= 0]).tolist():
            numbers = np.flatnonzero(chunks == chunk)
            try:
                known = rows_of(self._load(chunk), rows[numbers])
            except ForgottenError:
                continue
            found = zip(known.column("key").to_pylist(), self._table.values(known), strict=True)
            for number, (key, result) in zip(numbers.tolist(), found, strict=True):
                results[number] = result if key == keys[number] else None
        return results

    def keep(self, key: bytes, result: Any, *, is_new: bool) -> None:
        """Keep a result that is used, in the order of the documents.

        Raises:
            OSError: the disk is full; what was written before stays.
        """
        if not (is_new or self._is_renewed):
            return
        row = {"key": key, **self._table.row(result)}
        self._rows.append(row)
        self._num_bytes += sum(len(value) for value in row.values() if isinstance(value, bytes | str))
        self._num_bytes += sum(len(segment["text"]) for segment in row.get("segments") or ())
        full = len(self._rows) >= _CHUNK_ROWS or self._num_bytes >= _CHUNK_BYTES
        if full or time.monotonic() - self._written_at > _CHUNK_SECONDS:
            self._flush()

    def finish(self) -> None:
        """Bring the rest to the disk, and remove what nothing asks for.

        Raises:
            OSError: the disk is full; what was written before stays.
        """
        self._flush()
        if self._is_renewed:
            for path in self._chunks:
                path.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._rows:
            prefix = f"{self._run:06}-{self._num_written:06}"
            write_chunk(self._folder, prefix, table_of(self._rows, self._schema))
            self._num_written += 1
        self._rows, self._num_bytes, self._written_at = [], 0, time.monotonic()

    def _index(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]:
        """Return the first half of each key, ascending, and the chunk and row of each, ``[N, 2]``; later runs first."""
        hashes, places = [np.zeros(0, np.uint64)], [np.zeros((0, 2), np.int32)]
        for number, path in reversed([*enumerate(self._chunks)]):
            columns = read_columns(path, pa.schema([("key", pa.binary(KEY_BYTES))]))
            if columns is not None:
                keys = _halves(columns.column("key").to_pylist())
                hashes.append(keys)
                places.append(np.stack([np.full(len(keys), number), np.arange(len(keys))], axis=1).astype(np.int32))
        together = np.concatenate(hashes)
        order = np.argsort(together, kind="stable")
        return together[order], np.concatenate(places)[order]

    def _located(self, keys: Sequence[bytes]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return the chunk of each key, -1 where it is not known, and its row there; ``[keys]`` each."""
        halves = _halves(keys)
        places = np.searchsorted(self._hashes, halves)
        places[places == len(self._hashes)] = 0
        is_known = self._hashes[places] == halves if len(self._hashes) else np.zeros(len(keys), bool)
        if not is_known.any():
            return np.full(len(keys), -1, np.int32), np.zeros(len(keys), np.int32)
        found = self._places[places]
        return np.where(is_known, found[:, 0], -1).astype(np.int32), found[:, 1]

    def _load(self, number: int) -> pa.Table:
        if number not in self._open:
            self._open[number] = read_chunk(self._chunks[number])
            while len(self._open) > 1 and sum(table.nbytes for table in self._open.values()) > _OPEN_BYTES:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]


def map_remembered(
    engine: Engine,
    work: Work,
    batches: Iterable[pa.Table],
    remembered: Remembered,
    keys_of: Callable[[pa.Table], list[bytes]],
) -> Iterator[tuple[pa.Table, Sequence[Any]]]:
    """Yield each batch with the result of each of its documents: the engine works on those that are not remembered.

    Args:
        engine: where the work is done.
        work: turns documents into a result for each.
        batches: documents.
        remembered: is asked for results, and given the new ones.
        keys_of: gives a hash of all that the result of each document depends on.
    """
    waiting: deque[list[_Batch]] = deque()

    def unknown() -> Iterator[Sequence[Document]]:
        group, documents, num_bytes = list[_Batch](), list[Document](), 0
        for batch in batches:
            keys = keys_of(batch)
            group.append(_Batch(batch, keys, remembered.find(keys)))
            documents += group[-1].unknown()
            num_bytes += batch.nbytes
            if len(documents) >= _AT_ONCE or num_bytes >= _WAITING_BYTES:
                waiting.append(group)
                yield documents
                group, documents, num_bytes = [], [], 0
        if group:
            waiting.append(group)
            yield documents

    for made in engine.map_batches(work, unknown(), few=remembered.is_rich):
        new = iter(made)
        for batch in waiting.popleft():
            yield batch.documents, [*batch.completed(new, remembered)]
    remembered.finish()


@dataclass(frozen=True, slots=True)
class _Batch:
    documents: pa.Table
    keys: Sequence[bytes]
    known: Sequence[Any]

    def unknown(self) -> list[Document]:
        return documents_of(rows_of(self.documents, np.flatnonzero([result is None for result in self.known])))

    def completed(self, new: Iterator[Any], remembered: Remembered) -> Iterator[Any]:
        for key, known in zip(self.keys, self.known, strict=True):
            result = next(new) if known is None else known
            remembered.keep(key, result, is_new=known is None)
            yield result


def _halves(keys: Sequence[bytes]) -> npt.NDArray[np.uint64]:
    return np.frombuffer(b"".join(keys), np.uint64)[:: KEY_BYTES // 8]
