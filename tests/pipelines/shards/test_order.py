"""The order of samples is a function: of corpora, weights and seed, and of nothing else."""

import itertools
import time
from fractions import Fraction

import numpy as np
import pytest

from forge_pipelines.shards.order import CorpusRange, OrderSpec, samples_of, sequences_of


def spec(*sizes_and_weights: tuple[int, int], seed: int = 3) -> OrderSpec:
    corpora, first = [], 0
    for number, (size, weight) in enumerate(sizes_and_weights):
        corpora.append(
            CorpusRange(
                corpus=f"c{number}", fingerprint=f"f{number}", weight=weight, first_sequence=first, num_sequences=size
            )
        )
        first += size
    return OrderSpec(corpora=tuple(corpora), seed=seed)


def slowly(order: OrderSpec, samples: int) -> list[int]:
    """The same order one sample at a time: whose turn it is by exact fractions, then that corpus alone."""
    drawn = [0] * len(order.corpora)
    rows = []
    for sample in range(samples):
        chosen = _whose_turn(order, sample)
        corpus = order.corpora[chosen]
        alone = OrderSpec(corpora=(corpus.model_copy(update={"weight": 1}),), seed=order.seed)
        rows.append(int(sequences_of(alone, np.array([drawn[chosen]]))[0]))
        drawn[chosen] += 1
    return rows


def undone_slowly(order: OrderSpec, row: int, num_samples: int) -> list[int]:
    """The samples that read a sequence, by walking through all turns: each of its corpus looks up one draw."""
    number = next(n for n, corpus in enumerate(order.corpora) if row < corpus.first_sequence + corpus.num_sequences)
    corpus = order.corpora[number]
    alone = OrderSpec(corpora=(corpus.model_copy(update={"weight": 1}),), seed=order.seed)
    turns = [sample for sample in range(num_samples) if _whose_turn(order, sample) == number]
    return [sample for draw, sample in enumerate(turns) if int(sequences_of(alone, np.array([draw]))[0]) == row]


def _whose_turn(order: OrderSpec, sample: int) -> int:
    stream, total = sample, sum(corpus.weight for corpus in order.corpora)
    for number, corpus in enumerate(order.corpora):
        share = Fraction(corpus.weight, total)
        before = int(stream * share)
        if int((stream + 1) * share) > before:
            return number
        stream, total = stream - before, total - corpus.weight
    raise AssertionError("the last corpus takes all that is left")


@pytest.mark.parametrize("sizes", [[(1, 1)], [(2, 1)], [(7, 1), (5, 3)], [(64, 2), (3, 1), (100, 4)]])
def test_the_order_equals_the_slow_reference(sizes: list[tuple[int, int]]) -> None:
    order = spec(*sizes)
    assert sequences_of(order, np.arange(400)).tolist() == slowly(order, 400)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 63, 64, 65, 1000])
def test_each_pass_visits_every_sequence_once(size: int) -> None:
    rows = sequences_of(spec((size, 1)), np.arange(3 * size)).reshape(3, size)
    for row in rows:
        assert sorted(row.tolist()) == list(range(size))


def test_passes_and_seeds_differ() -> None:
    rows = sequences_of(spec((500, 1)), np.arange(1000)).reshape(2, 500)
    assert (rows[0] != rows[1]).any()
    assert (rows[0] != sequences_of(spec((500, 1), seed=4), np.arange(500))).any()


def test_weights_hold_in_every_prefix() -> None:
    order = spec((50, 1), (50, 3))
    of_second = sequences_of(order, np.arange(1000)) >= 50
    drawn = np.cumsum(of_second)
    assert np.abs(drawn - 0.75 * np.arange(1, 1001)).max() <= 1


def test_any_way_of_asking_gives_the_same_samples() -> None:
    order = spec((97, 2), (31, 1))
    whole = sequences_of(order, np.arange(600))
    parts = [sequences_of(order, np.arange(start, start + 7)) for start in range(0, 595, 7)]
    assert whole[:595].tolist() == list(itertools.chain(*[part.tolist() for part in parts]))
    shuffled = np.random.default_rng(0).permutation(600)
    assert (sequences_of(order, shuffled) == whole[shuffled]).all()
    many = sequences_of(order, np.arange(100_000))
    assert (many[:600] == whole).all()
    assert (many[99_000:] == sequences_of(order, np.arange(99_000, 100_000))).all()


MIXES = [
    [(1, 1)],
    [(3, 1)],
    [(4, 1)],
    [(5, 1)],
    [(1, 1), (1, 1)],
    [(7, 1), (5, 3)],
    [(16, 5), (17, 1), (15, 2)],
    [(64, 2), (3, 1), (100, 4)],
    [(63, 1), (65, 1000)],
    [(2, 7), (255, 11), (1, 13), (257, 3)],
]


@pytest.mark.parametrize("sizes", MIXES[:8])
def test_the_samples_of_a_sequence_equal_the_slow_reference(sizes: list[tuple[int, int]]) -> None:
    order = spec(*sizes)
    for row in range(0, order.num_sequences, 11):
        assert samples_of(order, np.array([row]), 333).tolist() == undone_slowly(order, row, 333)


@pytest.mark.parametrize("sizes", MIXES)
@pytest.mark.parametrize("seed", [0, 3, 2**40])
def test_every_sample_is_found_back_by_its_sequence_and_no_other_is(sizes: list[tuple[int, int]], seed: int) -> None:
    order = spec(*sizes, seed=seed)
    for num_samples in (0, 1, 2, order.num_sequences, 2 * order.num_sequences + 1, 1000):
        rows = sequences_of(order, np.arange(num_samples))
        for row in range(order.num_sequences):
            found = samples_of(order, np.array([row]), num_samples)
            assert found.tolist() == np.flatnonzero(rows == row).tolist()


@pytest.mark.parametrize("size", [4**h + more for h in range(1, 8) for more in (-1, 0, 1)])
def test_whole_passes_are_found_back_at_every_size(size: int) -> None:
    order = spec((size, 2), (max(size // 3, 1), 1))
    num_samples = 3 * order.num_sequences - 1
    assert samples_of(order, np.arange(order.num_sequences), num_samples).tolist() == list(range(num_samples))


def test_many_sequences_asked_for_at_once_in_any_order_and_twice_are_each_found_once() -> None:
    order = spec((97, 2), (31, 1), (8, 5))
    asked = np.array([130, 5, 99, 5, 0, 130])
    rows = sequences_of(order, np.arange(2000))
    assert samples_of(order, asked, 2000).tolist() == np.flatnonzero(np.isin(rows, asked)).tolist()
    assert samples_of(order, np.array([], dtype=np.int64), 2000).tolist() == []


def test_the_samples_of_a_sequence_are_found_among_a_million_million_without_visiting_them() -> None:
    order = spec((10**9, 3), (10**10, 7))
    asked = np.array([123_456_789, 10**9 + 7])
    started = time.perf_counter()
    found = samples_of(order, asked, 10**12)
    assert time.perf_counter() - started < 5.0
    assert set(sequences_of(order, found).tolist()) == set(asked.tolist())
    of_first, of_second = 3 * 10**11 // 10**9, 7 * 10**11 // 10**10
    assert len(found) == of_first + of_second


def test_a_million_samples_take_less_than_a_second() -> None:
    order = spec((1_000_003, 1))
    started = time.perf_counter()
    sequences_of(order, np.arange(1_000_000))
    assert time.perf_counter() - started < 1.0
