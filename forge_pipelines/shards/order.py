"""Which sequence is sample *i*: a function, so that what a training step consumed can be computed for ever.

The formula. Samples are numbered 0, 1, 2, … on through all epochs. Sample *g* belongs to one corpus, and is that
corpus's draw *d*, by exact integer proportions: of a stream's first *k* samples, ⌊k·w/W⌋ belong to a corpus of weight
*w* out of a total *W*, and the rest form the stream of the remaining corpora. Draw *d* of a corpus with *n* sequences
is number d mod n of its pass ⌊d/n⌋, and each pass visits all *n* in an order of its own: a four-round Feistel
permutation (Luby and Rackoff, 1988) of the smallest 4^h ≥ n, walked until it falls below *n* (Black and Rogaway,
2002), keyed by seed, corpus and pass. The round function is the finalizer of SplitMix64 (Steele et al., 2014).

Ranks, workers, restarts and accumulation do not appear in it. Nothing here imports torch.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from forge_pipelines.manifest import Value

_ROUNDS = 4


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
    where = np.arange(len(samples))
    stream = np.asarray(samples, dtype=np.int64)
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
        result[of_pass] = _permute(positions[of_pass].astype(np.uint64), corpus.num_sequences, keys)
    return result


def _round_keys(seed: int, fingerprint: str, pass_number: int) -> list[np.uint64]:
    key = hashlib.sha256(f"{seed}:{fingerprint}:{pass_number}".encode()).digest()
    return [np.uint64(int.from_bytes(key[8 * i : 8 * i + 8], "big")) for i in range(_ROUNDS)]


def _permute(values: NDArray[np.uint64], size: int, keys: list[np.uint64]) -> NDArray[np.uint64]:
    """Permute values of [0, size) among themselves."""
    half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
    result = _feistel(values, half_bits, keys)
    outside = np.flatnonzero(result >= size)
    while len(outside):
        result[outside] = _feistel(result[outside], half_bits, keys)
        outside = outside[result[outside] >= size]
    return result


def _feistel(values: NDArray[np.uint64], half_bits: int, keys: list[np.uint64]) -> NDArray[np.uint64]:
    shift, mask = np.uint64(half_bits), np.uint64((1 << half_bits) - 1)
    left, right = values >> shift, values & mask
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return (left << shift) | right


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed
