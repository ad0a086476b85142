"""Whether anything held out has a near-copy in train: by comparing all shingles of all texts, in plain Python.

It shares nothing with the search that it judges: no hashes, no signatures, no buckets.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Shingle = tuple[str, ...]

_WORDS_PER_SHINGLE = 5
_SPACELESS = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3005, 0x3007), (0x3040, 0x30FF), (0x31F0, 0x31FF)),
    *((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFD)),
)


class _Letters(dict[int, str]):
    """What `str.translate` makes of each character: itself, a word of its own, or a blank."""

    def __missing__(self, code: int) -> str:
        written = chr(code) if unicodedata.category(chr(code))[0] in "LMN" else " "
        if written != " " and any(first <= code <= last for first, last in _SPACELESS):
            written = f" {written} "
        self[code] = written
        return written


@dataclass(frozen=True, slots=True)
class Pair:
    """A held-out document and one in train, by their paths, and their Jaccard similarity."""

    heldout: str
    train: str
    jaccard: float


_LETTERS = _Letters()


def shingle_set(text: str) -> set[Shingle]:
    """Return the runs of five words of a text, or the words of one that has fewer."""
    words = text.casefold().translate(_LETTERS).split()
    if len(words) < _WORDS_PER_SHINGLE:
        return {(word,) for word in words}
    return set(zip(*(words[start:] for start in range(_WORDS_PER_SHINGLE)), strict=False))


def nearest_in_train(heldout: Mapping[str, str], train: Iterable[tuple[str, str]]) -> list[Pair]:
    """Return for each held-out text the most similar one in train, where any shares a shingle; most alike first."""
    paths, sizes = list(heldout), []
    holders: dict[Shingle, list[int]] = {}
    for number, text in enumerate(heldout.values()):
        shingles = shingle_set(text)
        sizes.append(len(shingles))
        for shingle in shingles:
            holders.setdefault(shingle, []).append(number)
    best: dict[int, Pair] = {}
    for path, text in train:
        shingles = shingle_set(text)
        shared = Counter(number for shingle in shingles for number in holders.get(shingle, ()))
        for number, common in shared.items():
            alike = common / (sizes[number] + len(shingles) - common)
            if number not in best or alike > best[number].jaccard:
                best[number] = Pair(paths[number], path, alike)
    return sorted(best.values(), key=lambda pair: pair.jaccard, reverse=True)
