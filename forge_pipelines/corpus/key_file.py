"""The band keys of a corpus on disk, until all documents and so their order are known."""

from pathlib import Path
from typing import Self

import numpy as np

from forge_pipelines.corpus.buckets import I32
from forge_pipelines.corpus.signatures import NUM_BANDS, U32

_ROWS_AT_ONCE = 8192


class KeyFile:
    """Keys by row, written once and read once; a context manager that takes its file away."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("w+b")

    def add(self, keys: U32) -> None:
        """Append rows of keys, ``[n, 48]``."""
        self._file.write(keys.data)

    def read(self, places: I32) -> U32:
        """Return all rows, each in its place: ``[N, 48]``.

        Args:
            places: a permutation: where each row goes, ``[N]``.
        """
        self._file.seek(0)
        keys = np.empty((len(places), NUM_BANDS), np.uint32)
        for start in range(0, len(places), _ROWS_AT_ONCE):
            into = places[start : start + _ROWS_AT_ONCE]
            rows = np.frombuffer(self._file.read(len(into) * NUM_BANDS * keys.itemsize), np.uint32)
            keys[into] = rows.reshape(-1, NUM_BANDS)
        return keys

    def __enter__(self) -> Self:
        """Return the file itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file and take it away."""
        self._file.close()
        self._path.unlink()
