"""MinHash signatures of texts, and the keys under which texts that are alike meet.

A signature is 128 numbers; two texts of Jaccard similarity s agree in each with probability s (Broder 1997). The
numbers make 16 bands of 2 and 32 bands of 3, and two texts meet if they agree in a whole band. They miss each other
with probability (1 - s**2)**16 * (1 - s**3)**32: 1 in 7,000 at s = 0.5, 1 in 3 million at 0.6; at 0.1 four of five
pairs do. (The usual 14 bands of 8 miss 1 in 13 at 0.8.)
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import rensa

from forge_pipelines.corpus.shingles import U64, Shingles, shingles

U32 = npt.NDArray[np.uint32]

NUM_PERMUTATIONS = 128
BANDS = ((16, 2), (32, 3))
"""How many bands of how many numbers: all of them together are a signature."""

NUM_BANDS = sum(number for number, _ in BANDS)
_SEED = 1
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xD1342543DE82EF95, 0xBF58476D1CE4E5B9], np.uint64)


def signatures(texts: Iterable[str]) -> U32:
    """Return the MinHash signatures of texts, ``[N, 128]``. A text without a word has the greatest number 128 times."""
    made = [signed(sets) for sets in shingles(texts)]
    return np.concatenate([np.empty((0, NUM_PERMUTATIONS), np.uint32), *made])


def signed(sets: Shingles) -> U32:
    """Return the MinHash signatures of sets of shingles, ``[N, 128]``."""
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(
        sets.hashes, sets.offsets.astype(np.uint64), NUM_PERMUTATIONS, _SEED
    )
    return np.array(matrix.to_rows(), np.uint32).reshape(-1, NUM_PERMUTATIONS)


def band_keys(signed: U32) -> U32:
    """Return a key for each band of each signature, ``[N, 48]``: equal bands have equal keys, of one band number."""
    keys, start = [], 0
    for number, rows in BANDS:
        bands = signed[:, start : start + number * rows].reshape(-1, number, rows).astype(np.uint64)
        mixed: U64 = (bands * _FACTORS[:rows]).sum(axis=2, dtype=np.uint64)
        mixed ^= mixed >> np.uint64(32)
        mixed *= _FACTORS[0]
        keys.append((mixed >> np.uint64(32)).astype(np.uint32))
        start += number * rows
    return np.hstack(keys)


def least_shared_bands(similarity: float) -> int:
    """Return a number of bands that texts of at least this similarity share almost surely (four deviations)."""
    chances = np.repeat([similarity**rows for _, rows in BANDS], [number for number, _ in BANDS])
    return max(1, int(chances.sum() - 4 * (chances * (1 - chances)).sum() ** 0.5))
