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

    def add(self, keys: bytes) -> None:
        """Append a row of 48 keys."""
        self._file.write(keys)

    def read(self, places: I32, num_rows: int) -> U32:
        """Return rows, each in its place: ``[num_rows, 48]``.

        Args:
            places: where each row of the file goes; those of -1 are left out.
            num_rows: how many are not.
        """
        self._file.seek(0)
        keys = np.empty((num_rows, NUM_BANDS), np.uint32)
        for start in range(0, len(places), _ROWS_AT_ONCE):
            into = places[start : start + _ROWS_AT_ONCE]
            rows = np.frombuffer(self._file.read(len(into) * NUM_BANDS * keys.itemsize), np.uint32)
            keys[into[into >= 0]] = rows.reshape(-1, NUM_BANDS)[into >= 0]
        return keys

    def __enter__(self) -> Self:
        """Return the file itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file and take it away."""
        self._file.close()
        self._path.unlink()
