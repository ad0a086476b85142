"""Which documents are copies of which, and which side of the split each of the others is on.

One pass over the documents, oldest first; each looks at older ones alone. So what becomes of a document is settled by
it and by those before it: what comes later changes nothing. And every copy was held against the document that stands
for it: no chain of small steps ties two texts together that have nothing in common.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from forge_pipelines.columns import RowNumbers
from forge_pipelines.corpus.buckets import I32, Buckets, Side
from forge_pipelines.corpus.shingle_file import jaccard
from forge_pipelines.corpus.shingles import U64
from forge_pipelines.corpus.signatures import least_shared_bands

MAX_HELD_AGAINST = 128
"""How many documents of one side, of those it meets, one is held against exactly; those that share most bands first."""

MostAlike = Callable[[RowNumbers, RowNumbers], npt.NDArray[np.float64]]
"""Gives similarities that pairs of documents do not exceed, ``[pairs]``, by their numbers."""

_DECIDED_AT_ONCE = 256
_SIDES: tuple[Side, Side] = (0, 1)


class Near(NamedTuple):
    """A document, by its number, and its Jaccard similarity to another one."""

    document: int
    jaccard: float


@dataclass(frozen=True, slots=True)
class Limits:
    """From which Jaccard similarity on a document is a copy, and from which on it shares its side; None is never."""

    copy: float
    side: float | None

    @property
    def least(self) -> float:
        """From which similarity on anything follows."""
        return self.copy if self.side is None else min(self.copy, self.side)


@dataclass(frozen=True, slots=True)
class Clusters:
    """What became of N documents, by their number in the order.

    Attributes:
        survivors: the number of the document that stands for each, ``[N]``; its own for one that is no copy.
        jaccards: similarity to that one, exact, ``[N]``.
        heldout: which are held out, ``[N]``; of copies it is their survivor's.
        torn: documents near to one of either side, with both; they can be on none.
    """

    survivors: I32
    jaccards: npt.NDArray[np.float32]
    heldout: npt.NDArray[np.bool_]
    torn: dict[int, tuple[Near, Near]]


def cluster(
    buckets: Buckets,
    read: Callable[[int], U64],
    most_alike: MostAlike,
    limits: Limits,
    draw: Callable[[int], Side],
    on_decided: Callable[[int], None],
) -> Clusters:
    """Decide on all documents, oldest first.

    Args:
        buckets: who meets whom; empty still.
        read: gives a document's set of shingles by its number.
        most_alike: gives similarities that pairs of documents do not exceed, see `bitmaps`.
        limits: what counts as a copy, and as near.
        draw: the side of a document that is near to no older one.
        on_decided: is told now and then how many are decided on.
    """
    size = buckets.num_documents
    search = _Search(buckets, read, most_alike, limits)
    is_searched = buckets.promising(search.is_promising)
    made = Clusters(np.arange(size, dtype=np.int32), np.ones(size, np.float32), np.zeros(size, bool), {})
    for document in range(size):
        if document % _DECIDED_AT_ONCE == 0:
            on_decided(document)
        copied, near = search.nearest(document) if is_searched[document] else (None, {})
        if copied is not None:
            made.survivors[document], made.jaccards[document] = copied
            made.heldout[document] = made.heldout[copied.document]
        elif len(near) == 2:
            made.torn[document] = near[0], near[1]
        else:
            side = next(iter(near), None)
            side = draw(document) if side is None else side
            made.heldout[document] = side == 1
            buckets.enter(document, side)
    return made


class _Search:
    def __init__(self, buckets: Buckets, read: Callable[[int], U64], most_alike: MostAlike, limits: Limits) -> None:
        self._buckets, self._read, self._most_alike, self._limits = buckets, read, most_alike, limits
        self._least_shared = least_shared_bands(limits.copy)

    def is_promising(self, one: RowNumbers, other: RowNumbers) -> npt.NDArray[np.bool_]:
        """Tell for which pairs of documents anything may follow from how alike they are, ``[pairs]``."""
        return self._most_alike(one, other) >= self._limits.least

    def nearest(self, document: int) -> tuple[Near | None, dict[Side, Near]]:
        """Return the older document that one is a copy of, or else one of either side that it is near to."""
        shingles = self._read(document)
        near: dict[Side, Near] = {}
        for side in _SIDES:
            others, num_shared = self._buckets.met(document, side)
            for other, shared in self._promising(document, others[:MAX_HELD_AGAINST], num_shared):
                # Too few bands in common for a copy: of use only where nothing near is known on this side.
                if shared < self._least_shared and (side in near or self._limits.side is None):
                    break
                found = Near(other, jaccard(shingles, self._read(other)))
                if found.jaccard >= self._limits.copy:
                    return found, near
                if self._limits.side is not None and found.jaccard >= self._limits.side:
                    near.setdefault(side, found)
        return None, near

    def _promising(self, document: int, others: Sequence[int], num_shared: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yield those others that are worth a look, each with how many bands it shares."""
        those = np.array(others, np.int32)
        found = zip(others, num_shared, self.is_promising(those, np.full_like(those, document)).tolist(), strict=False)
        return ((other, shared) for other, shared, is_worth_it in found if is_worth_it)
