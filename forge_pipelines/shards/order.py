"""Which sequence is sample *i*: a function, so that what a training step consumed can be computed for ever.

The formula. Samples are numbered 0, 1, 2, … on through all epochs. Sample *g* belongs to one corpus, and is that
corpus's draw *d*, by exact integer proportions: of a stream's first *k* samples, ⌊k·w/W⌋ belong to a corpus of weight
*w* out of a total *W*, and the rest form the stream of the remaining corpora. Draw *d* of a corpus with *n* sequences
is number d mod n of its pass ⌊d/n⌋, and each pass visits all *n* in an order of its own: a four-round Feistel
permutation (Luby and Rackoff, 1988) of the smallest 4^h ≥ n, walked until it falls below *n* (Black and Rogaway,
2002), keyed by seed, corpus and pass. The round function is the finalizer of SplitMix64 (Steele et al., 2014).

Backwards. In a pass, a sequence's draw is found by undoing the rounds, walked likewise until it falls below *n*. Draw
*d* of the corpus is its stream's sample ⌈(d+1)·W/w⌉ − 1, and sample *t* of the remaining corpora's stream is sample
⌊t·W/(W−w)⌋ of this one.

Ranks, workers, restarts and accumulation do not appear in it. Nothing here imports torch.
"""

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forge_pipelines.manifest import Value

_ROUNDS = 4
_AT_ONCE = 1 << 15
"""So many samples are worked on at once: what that takes stays in a core's cache."""

_U64 = NDArray[np.uint64]
_Rounds = Callable[[_U64, int, list[np.uint64]], _U64]


class CorpusRange(Value):
    """Where one corpus stands among the sequences, and what its order depends on.

    Attributes:
        fingerprint: the order fingerprint: the shards of the same corpus keep it when a document is masked in them.
        weight: how many samples are drawn of it, relative to the others.
    """

    corpus: str
    fingerprint: str
    weight: int = Field(gt=0)
    first_sequence: int = Field(ge=0)
    num_sequences: int = Field(gt=0)


class OrderSpec(Value):
    """All that the order depends on."""

    corpora: tuple[CorpusRange, ...] = Field(min_length=1)
    seed: int = 0

    @property
    def num_sequences(self) -> int:
        """Sequences of all corpora: the samples of one epoch."""
        return sum(corpus.num_sequences for corpus in self.corpora)


def sequences_of(spec: OrderSpec, samples: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sequence that each sample reads.

    Args:
        samples: sample numbers ≥ 0, shape (n,); sample *i* of epoch *e* is ``e * spec.num_sequences + i``.

    Returns:
        Row numbers of the shards' sequences, shape (n,).
    """
    rows = np.empty(len(samples), dtype=np.int64)
    for start in range(0, len(samples), _AT_ONCE):
        block = slice(start, start + _AT_ONCE)
        rows[block] = _sequences_of(spec, np.asarray(samples[block], dtype=np.int64))
    return rows


def samples_of(spec: OrderSpec, rows: NDArray[np.int64], num_samples: int) -> NDArray[np.int64]:
    """Return every sample below ``num_samples`` that reads one of some sequences: `sequences_of`, inverted.

    The work grows with the sequences asked for and with the passes over their corpus, not with ``num_samples``.

    Args:
        spec: what the order depends on.
        rows: row numbers of the shards' sequences, shape (n,), in any order.
        num_samples: samples of the whole training.

    Returns:
        Sample numbers, ascending, shape (m,). Which sequence each of them reads, `sequences_of` says.
    """
    rows = np.unique(np.asarray(rows, dtype=np.int64))
    found = [np.empty(0, dtype=np.int64)]
    total_weight, length = sum(corpus.weight for corpus in spec.corpora), num_samples
    passed: list[tuple[int, int]] = []
    for corpus in spec.corpora:
        num_draws = length * corpus.weight // total_weight
        stream = _draws_of(rows, corpus, spec.seed, num_draws)
        stream = -(-(stream + 1) * total_weight // corpus.weight) - 1
        for weight, total in reversed(passed):
            stream = stream * total // (total - weight)
        found.append(stream)
        passed.append((corpus.weight, total_weight))
        length, total_weight = length - num_draws, total_weight - corpus.weight
    return np.sort(np.concatenate(found))


def _sequences_of(spec: OrderSpec, stream: NDArray[np.int64]) -> NDArray[np.int64]:
    rows = np.empty(len(stream), dtype=np.int64)
    where = np.arange(len(stream))
    total_weight = sum(corpus.weight for corpus in spec.corpora)
    for corpus in spec.corpora:
        before = stream * corpus.weight // total_weight
        chosen = (stream + 1) * corpus.weight // total_weight > before
        rows[where[chosen]] = corpus.first_sequence + _draws(before[chosen], corpus, spec.seed)
        where, stream = where[~chosen], (stream - before)[~chosen]
        total_weight -= corpus.weight
    return rows


def _draws(draws: NDArray[np.int64], corpus: CorpusRange, seed: int) -> NDArray[np.int64]:
    """Map draws of one corpus to its sequences, each pass in an order of its own."""
    passes, positions = np.divmod(draws, corpus.num_sequences)
    result = np.empty_like(draws)
    for number in np.unique(passes):
        of_pass = passes == number
        keys = _round_keys(seed, corpus.fingerprint, int(number))
        result[of_pass] = _permute(positions[of_pass].astype(np.uint64), corpus.num_sequences, keys, _feistel)
    return result


def _draws_of(rows: NDArray[np.int64], corpus: CorpusRange, seed: int, num_draws: int) -> NDArray[np.int64]:
    """Return every draw below ``num_draws`` that gives one of some sequences; those of other corpora are none."""
    size = corpus.num_sequences
    places = rows - corpus.first_sequence
    own = places[(places >= 0) & (places < size)].astype(np.uint64)
    num_passes = -(-num_draws // size) if len(own) else 0
    found = [np.empty(0, dtype=np.int64)]
    for number in range(num_passes):
        positions = _permute(own, size, _round_keys(seed, corpus.fingerprint, number), _feistel_undone)
        found.append(number * size + positions.astype(np.int64))
    draws = np.concatenate(found)
    return draws[draws < num_draws]


def _round_keys(seed: int, fingerprint: str, pass_number: int) -> list[np.uint64]:
    key = hashlib.sha256(f"{seed}:{fingerprint}:{pass_number}".encode()).digest()
    return [np.uint64(int.from_bytes(key[8 * i : 8 * i + 8], "big")) for i in range(_ROUNDS)]


def _permute(values: _U64, size: int, keys: list[np.uint64], rounds: _Rounds) -> _U64:
    """Permute values of [0, size) among themselves; with the rounds undone, back."""
    half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
    result = rounds(values, half_bits, keys)
    outside = np.flatnonzero(result >= size)
    while len(outside):
        result[outside] = rounds(result[outside], half_bits, keys)
        outside = outside[result[outside] >= size]
    return result


def _feistel(values: _U64, half_bits: int, keys: list[np.uint64]) -> _U64:
    shift, mask = np.uint64(half_bits), np.uint64((1 << half_bits) - 1)
    left, right = values >> shift, values & mask
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return (left << shift) | right


def _feistel_undone(values: _U64, half_bits: int, keys: list[np.uint64]) -> _U64:
    shift, mask = np.uint64(half_bits), np.uint64((1 << half_bits) - 1)
    left, right = values >> shift, values & mask
    for key in reversed(keys):
        left, right = right ^ (_mix(left ^ key) & mask), left
    return (left << shift) | right


def _mix(values: _U64) -> _U64:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: _U64 = values ^ (values >> np.uint64(31))
    return mixed
