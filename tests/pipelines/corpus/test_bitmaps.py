"""A bitmap never says less of how alike two sets are than there is, and sees that most that meet by chance are not."""

import random

import numpy as np
import pytest

from forge_pipelines.corpus.bitmaps import Bitmaps
from forge_pipelines.corpus.buckets import MAX_MET, Buckets
from forge_pipelines.corpus.shingle_file import jaccard


def sets_of(rng: random.Random, number: int, sizes: tuple[int, int]) -> list[np.ndarray]:
    """Sets of which each has a share of the one before it."""
    made = [np.zeros(0, np.uint64)]
    for _ in range(number):
        size = rng.randint(*sizes)
        old = rng.sample(made[-1].tolist(), min(len(made[-1]), rng.randint(0, size)))
        new = [rng.getrandbits(64) for _ in range(size - len(old))]
        made.append(np.array(sorted({*old, *new}), np.uint64))
    return made


def bitmaps_of(sets: list[np.ndarray]) -> Bitmaps:
    bitmaps = Bitmaps()
    for start in range(0, len(sets), 7):
        bitmaps.add([each.tobytes() for each in sets[start : start + 7]])
    bitmaps.finish(np.array([len(each) for each in sets], np.int64))
    return bitmaps


@pytest.mark.parametrize("sizes", [(1, 3), (1, 50), (500, 700), (900, 6000)])
def test_no_two_sets_are_more_alike_than_their_bitmaps_allow(sizes: tuple[int, int]) -> None:
    sets = sets_of(random.Random(sizes[1]), 60, sizes)
    one, other = (places.astype(np.int32) for places in np.triu_indices(len(sets)))
    bounds = bitmaps_of(sets).most_alike(one, other)
    exact = np.array([jaccard(sets[a], sets[b]) for a, b in zip(one, other, strict=True)])
    assert (bounds >= exact).all()
    same = (one == other) & (np.array([len(each) for each in sets])[one] > 0)
    assert (bounds[same] == 1).all()


def test_texts_of_600_words_that_have_nothing_in_common_are_told_apart() -> None:
    rng = random.Random(1)
    sets = [np.array(sorted(rng.getrandbits(64) for _ in range(600)), np.uint64) for _ in range(200)]
    one, other = (places.astype(np.int32) for places in np.triu_indices(len(sets), 1))
    assert bitmaps_of(sets).most_alike(one, other).max() < 0.5


@pytest.mark.parametrize("size", [2, MAX_MET, MAX_MET + 1, MAX_MET + 2, 3 * MAX_MET])
def test_all_older_documents_of_a_bucket_are_looked_at_or_it_is_crowded(size: int) -> None:
    buckets = Buckets(np.full((size, 2), 7, np.uint32), np.ones(size, bool))
    pairs: set[tuple[int, int]] = set()

    def note(older: np.ndarray, newer: np.ndarray) -> np.ndarray:
        pairs.update(zip(older.tolist(), newer.tolist(), strict=True))
        return np.zeros(len(older), bool)

    crowded = np.flatnonzero(buckets.promising(note)).tolist()
    assert crowded == [*range(MAX_MET + 1, size)]
    assert {(a, b) for b in range(size) if b not in crowded for a in range(b)} <= pairs
    assert buckets.promising(lambda older, newer: older == 0)[1:].all()
