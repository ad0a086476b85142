"""What near-copies of a text are found by: its shingles and the bands of its signature."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from forge_pipelines.corpus.shingles import shingles
from forge_pipelines.corpus.signatures import band_keys, signed


@dataclass(frozen=True, slots=True)
class Sketch:
    """One text.

    Attributes:
        shingles: the hashes of its shingles, ascending, 8 bytes each.
        bands: a key for each band of its signature, 4 bytes each.
    """

    shingles: bytes
    bands: bytes


def sketched(texts: Iterable[str]) -> Iterator[Sketch]:
    """Yield a sketch of each text, in order."""
    for sets in shingles(texts):
        bands = band_keys(signed(sets))
        for number, (start, end) in enumerate(zip(sets.offsets[:-1].tolist(), sets.offsets[1:].tolist(), strict=True)):
            yield Sketch(sets.hashes[start:end].tobytes(), bands[number].tobytes())
