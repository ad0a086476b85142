"""How alike two sets of shingles can be at most: told for many pairs at once, without a look at the sets themselves.

Of each set stands a bitmap of 1,536 bits in memory, 192 bytes: a shingle sets one of them, by its hash. Two sets have
no more shingles in common than bits that both set, and than either has shingles that set no further bit. For texts of
up to about 1,100 words that is enough to see of nearly every pair that meets by chance that it is not alike.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from forge_pipelines.columns import RowNumbers
from forge_pipelines.corpus.shingles import I64, U64

_BITS = 1536
_WORDS = _BITS // 64
_PAIRS_AT_ONCE = 1 << 14


class Bitmaps:
    """The bitmaps of sets, numbered in the order in which they come."""

    def __init__(self) -> None:
        self._parts: list[npt.NDArray[np.uint8]] = []
        self._bitmaps: U64 = np.zeros((0, _WORDS), np.uint64)
        self._sizes = self._hidden = np.zeros(0, np.int64)

    def add(self, sets: Sequence[bytes]) -> None:
        """Append sets of shingles, 8 bytes a shingle."""
        counts = np.array([len(each) // 8 for each in sets], np.int64)
        hashes = np.frombuffer(b"".join(sets), np.uint64)
        bits = ((hashes >> np.uint64(32)) * np.uint64(_BITS) >> np.uint64(32)).astype(np.int64)
        is_set = np.zeros(len(sets) * _BITS, bool)
        is_set[np.repeat(np.arange(len(sets)) * _BITS, counts) + bits] = True
        self._parts.append(np.packbits(is_set))

    def finish(self, sizes: I64) -> None:
        """End the adding; ``sizes`` ``[N]`` says how many shingles each set has."""
        self._bitmaps = np.concatenate([np.zeros(0, np.uint8), *self._parts]).view(np.uint64).reshape(-1, _WORDS)
        self._parts.clear()
        self._sizes = sizes
        self._hidden = sizes - np.bitwise_count(self._bitmaps).sum(axis=1, dtype=np.int64)

    def most_alike(self, one: RowNumbers, other: RowNumbers) -> npt.NDArray[np.float64]:
        """Return a Jaccard similarity that the sets of each pair do not exceed, ``[pairs]``.

        Args:
            one: numbers of sets, ``[pairs]``.
            other: those that they are held against, ``[pairs]``.
        """
        found = [
            self._most_alike(one[start : start + _PAIRS_AT_ONCE], other[start : start + _PAIRS_AT_ONCE])
            for start in range(0, len(one), _PAIRS_AT_ONCE)
        ]
        return np.concatenate([np.zeros(0), *found])

    def _most_alike(self, one: RowNumbers, other: RowNumbers) -> npt.NDArray[np.float64]:
        both = np.bitwise_count(self._bitmaps[one] & self._bitmaps[other]).sum(axis=1, dtype=np.int64)
        common = both + np.minimum(self._hidden[one], self._hidden[other])
        common = np.minimum(common, np.minimum(self._sizes[one], self._sizes[other]))
        bounds: npt.NDArray[np.float64] = common / np.maximum(1, self._sizes[one] + self._sizes[other] - common)
        return bounds
