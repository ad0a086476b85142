"""The sets of shingles of a corpus on disk, and the exact similarity of two of them."""

import os
from array import array
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from forge_pipelines.corpus.shingles import U64

_BYTES = 8


class ShingleFile:
    """Sets by their number, written once and read one at a time; a context manager that takes its file away.

    The file has eight bytes for each shingle of the corpus. It is read, not mapped: what is mapped counts as the
    process's memory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("w+b")
        self._ends = array("q", [0])
        self._offsets = np.zeros(1, np.int64)

    def add(self, shingles: bytes) -> None:
        """Append a set, ascending, 8 bytes a shingle; sets are numbered in the order in which they come."""
        self._file.write(shingles)
        self._ends.append(self._ends[-1] + len(shingles) // _BYTES)

    def finish(self) -> npt.NDArray[np.int64]:
        """End the writing, and return the size of each set."""
        self._file.flush()
        self._offsets = np.array(self._ends, np.int64)
        self._ends = array("q")
        return np.diff(self._offsets)

    def read(self, number: int) -> U64:
        """Return one set, ascending."""
        start, end = self._offsets[number : number + 2].tolist()
        return np.frombuffer(os.pread(self._file.fileno(), (end - start) * _BYTES, start * _BYTES), np.uint64)

    def __enter__(self) -> Self:
        """Return the file itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file and take it away."""
        self._file.close()
        self._path.unlink()


def jaccard(one: U64, other: U64) -> float:
    """Return how alike two sets are: the share of their common shingles in all of theirs. Two empty sets are not."""
    both = np.concatenate([one, other])
    both.sort()
    common = int(np.count_nonzero(both[1:] == both[:-1]))
    return common / max(1, len(one) + len(other) - common)
