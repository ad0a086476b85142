"""Which older documents a document meets: those that share a band of its signature.

Documents are numbered in their order, oldest first, and enter in it. What is kept in memory of each is a bucket's
number for each of its bands, 192 bytes; and of one that shares a bucket a link for each band, as many again, and two
links for each bucket that it shares, at most 192.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt

from forge_pipelines.corpus.signatures import U32

I32 = npt.NDArray[np.int32]
Side = Literal[0, 1]
"""0 is train, 1 is held out."""

MAX_MET = 32
"""How many of a bucket's documents of one side another one meets, the latest to enter first.

Without a bound ten thousand documents around one form letter, each with all others in one bucket, would cost fifty
million comparisons. What such a bucket does not show, a bucket of the documents' own words does.
"""

_NONE = -1


class Buckets:
    """Every bucket's documents as a linked list for each side, the latest first."""

    def __init__(self, keys: U32, has_shingles: npt.NDArray[np.bool_]) -> None:
        """Find the buckets that more than one document is in; ``keys`` ``[N, bands]`` is overwritten."""
        self._buckets, num_buckets = _numbered(keys, np.flatnonzero(has_shingles))
        self._latest: I32 = np.full((2, num_buckets), _NONE, np.int32)
        is_sharing = (self._buckets != _NONE).any(axis=1)
        self._links: I32 = np.where(is_sharing, np.cumsum(is_sharing) - 1, _NONE).astype(np.int32)
        self._before: I32 = np.full((int(is_sharing.sum()), keys.shape[1]), _NONE, np.int32)
        self.num_documents = len(keys)

    def promising(self, is_promising: Callable[[I32, I32], npt.NDArray[np.bool_]]) -> npt.NDArray[np.bool_]:
        """Tell which documents may meet a promising one, ``[N]``: of all others none of those that they meet is.

        Args:
            is_promising: tells it of pairs of documents, ``[pairs]`` each.
        """
        found = np.zeros(len(self._buckets), np.bool_)
        for band in range(self._buckets.shape[1]):
            for lag, (older, newer) in enumerate(self._neighbours(band)):
                # In a crowded bucket it depends on who has entered which older ones are met.
                found[newer if lag == MAX_MET else newer[is_promising(older, newer)]] = True
        return found

    def _neighbours(self, band: int) -> Iterator[tuple[I32, I32]]:
        """Yield the documents of a bucket before each other: all next ones, then all next but one, up to `MAX_MET`."""
        documents = np.flatnonzero(self._buckets[:, band] != _NONE).astype(np.int32)
        documents = documents[np.argsort(self._buckets[documents, band], kind="stable")]
        buckets = self._buckets[documents, band]
        for lag in range(1, MAX_MET + 2):
            shared = np.flatnonzero(buckets[lag:] == buckets[:-lag])
            if not len(shared):
                return
            yield documents[shared], documents[shared + lag]

    def enter(self, document: int, side: Side) -> None:
        """Put a document into its buckets, so that later ones meet it."""
        bands = np.flatnonzero(self._buckets[document] != _NONE)
        buckets = self._buckets[document, bands]
        if len(bands):
            self._before[self._links[document], bands] = self._latest[side, buckets]
        self._latest[side, buckets] = document

    def met(self, document: int, side: Side) -> tuple[list[int], list[int]]:
        """Return the documents of a side that one meets and how many bands each shares: most first, then the oldest."""
        bands = np.flatnonzero(self._buckets[document] != _NONE)
        present = self._latest[side, self._buckets[document, bands]]
        found: list[I32] = []
        while len(found) < MAX_MET:
            is_there = present != _NONE
            bands, present = bands[is_there], present[is_there]
            if not len(present):
                break
            found.append(present)
            present = self._before[self._links[present], bands]
        if not found:
            return [], []
        others, num_shared = np.unique(np.concatenate(found), return_counts=True)
        if len(found) == MAX_MET:  # in a crowded bucket only the latest were met
            own = self._buckets[document]
            num_shared = ((self._buckets[others] == own) & (own != _NONE)).sum(axis=1)
        order = np.argsort(-num_shared, kind="stable")
        return others[order].tolist(), num_shared[order].tolist()


def _numbered(keys: U32, documents: npt.NDArray[np.int64]) -> tuple[I32, int]:
    buckets = keys.view(np.int32)  # in place
    num_buckets = 0
    for band in range(keys.shape[1]):
        of_band = keys[documents, band]
        order = np.argsort(of_band, kind="stable")
        ordered = of_band[order]
        is_first = np.ones(len(order), bool)
        is_first[1:] = ordered[1:] != ordered[:-1]
        runs = np.cumsum(is_first) - 1
        is_shared = np.bincount(runs) > 1 if len(runs) else np.zeros(0, bool)
        numbers = np.where(is_shared, np.cumsum(is_shared) - 1 + num_buckets, _NONE).astype(np.int32)
        buckets[:, band] = _NONE
        buckets[documents[order], band] = numbers[runs]
        num_buckets += int(is_shared.sum())
    return buckets, num_buckets
