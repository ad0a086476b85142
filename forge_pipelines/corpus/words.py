"""The words of many texts at once, as arrays: what is asked of each word costs no step of Python."""

import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.intp]
Hashes = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

SLICE_CHARACTERS = 1 << 18

SPACE: Final = 1
ALPHABETIC: Final = 2
BARE: Final = 4
"""Letters, digits and marks: what is left of a word without its punctuation."""
ALONE: Final = 8
"""Han and kana: written without spaces, so that each character counts as a word where words are counted off."""
UNSPACED: Final = 16
"""Scripts that are written without spaces between words."""
MARK: Final = 32
"""Period, exclamation mark and question mark, and what they are in other scripts."""
WIDE: Final = 64
"""Those of them that no space follows."""
QUOTE: Final = 128
"""What may close a quotation."""

_HAN_AND_KANA = ((0x3040, 0x3100), (0x31F0, 0x3200), (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00))
_OTHER_UNSPACED = ((0x0E00, 0x1000), (0x1000, 0x10A0), (0x1780, 0x1800))  # Thai, Lao, Tibetan; Burmese; Khmer
_MARKS = ((".!?؟।۔", MARK), ("。！？", MARK | WIDE), ("\"'”’»", QUOTE))
_LAST_LOOKED_AT, _RARE_HAN = 0x20000, (0x20000, 0x40000)
_BASE, _GRAM_BASE, _TEXT_BASE = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xC2B2AE3D27D4EB4F


@dataclass(frozen=True, slots=True)
class Words:
    """The words of some texts, one after another.

    Attributes:
        codes: code points of all texts, each text followed by a line feed: shape [characters].
        classes: what each of them is, as a sum of the constants above: shape [characters].
        positions: where each of them stands in the joined texts, if some were left out: shape [characters].
        bounds: where each text begins in `codes`, and the end of the last: shape [texts + 1].
        starts: where each word begins in `codes`: shape [words].
        ends: where it ends: shape [words].
        text: the number of the text that it stands in: shape [words].
        hashes: equal for equal words, and in practice only for these: shape [words].
    """

    codes: npt.NDArray[np.uint32]
    classes: npt.NDArray[np.uint8]
    positions: Numbers | None
    bounds: Numbers
    starts: Numbers
    ends: Numbers
    text: Numbers
    hashes: Hashes

    @property
    def num_texts(self) -> int:
        """How many texts there are."""
        return len(self.bounds) - 1

    @property
    def lengths(self) -> Numbers:
        """Length of each word in characters."""
        return self.ends - self.starts

    def string(self, word: int) -> str:
        """Return a word."""
        return self.codes[self.starts[word] : self.ends[word]].tobytes().decode("utf-32-le", "surrogatepass")

    def total(self, per_word: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        """Add up what is known of each word over each text: shape [texts]."""
        return sum_by(self.text, per_word, self.num_texts)


def words_of(texts: Sequence[str], *, bare: bool = False) -> Words:
    """Part texts into words at their white space.

    Args:
        texts: at least one.
        bare: leave out all punctuation, and let each Han or kana character be a word.
    """
    joined = "\n".join(texts) + "\n"
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    bounds = np.cumsum([0, *(len(text) + 1 for text in texts)], dtype=np.intp)
    classes = _class_table()[codes]
    positions = None
    if bare:
        positions = np.flatnonzero(classes & (SPACE | BARE))
        codes, classes, bounds = codes[positions], classes[positions], np.searchsorted(positions, bounds)
    starts, ends = _edges(classes, alone=bare)
    counts = np.diff(np.searchsorted(starts, bounds))
    text = np.repeat(np.arange(len(texts)), counts)
    hashes = _mixed(sequence_hashes(codes, starts, ends))
    return Words(codes, classes, positions, bounds, starts, ends, text, hashes)


def slices(texts: Sequence[str]) -> Iterator[slice]:
    """Cut a batch of texts into runs of about `SLICE_CHARACTERS`: arrays of that size stay in the processor's cache."""
    start, characters = 0, 0
    for number, text in enumerate(texts):
        characters += len(text)
        if characters >= SLICE_CHARACTERS:
            yield slice(start, number + 1)
            start, characters = number + 1, 0
    if start < len(texts):
        yield slice(start, len(texts))


@cache
def hash_of(word: str) -> np.uint64:
    """Return the hash that a word has in `Words.hashes`."""
    return np.uint64(words_of([word]).hashes[0])


def sequence_hashes(values: npt.NDArray[np.unsignedinteger], starts: Numbers, ends: Numbers) -> Hashes:
    """Hash parts of a sequence, each as a polynomial modulo 2**64 of its values, by sums over prefixes.

    Args:
        values: the sequence: shape [values].
        starts: where each part begins: shape [parts].
        ends: where it ends: shape [parts].
    """
    powers, inverses = _powers(1 << max(20, len(values).bit_length()))
    sums = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values * powers[: len(values)], out=sums[1:])
    hashes: Hashes = (sums[ends] - sums[starts]) * inverses[starts]
    return hashes


def sum_by(text: Numbers, values: npt.NDArray[np.generic], num_texts: int) -> npt.NDArray[np.float64]:
    """Add up values over the text that each belongs to: shape [texts]."""
    return np.bincount(text, weights=values, minlength=num_texts).astype(np.float64, copy=False)


def gram_hashes(hashes: Hashes, sizes: Collection[int]) -> Iterator[tuple[int, Hashes]]:
    """Hash every run of so many words, whether or not a text ends within it.

    Yields:
        Each size, in rising order, with its runs' hashes: shape [words - size + 1]; nothing where that is below 1.
    """
    grams = hashes
    for size in range(1, min(max(sizes, default=0), len(hashes)) + 1):
        if size > 1:
            grams = grams[:-1] + hashes[size - 1 :] * gram_power(size - 1)
        if size in sizes:
            yield size, grams


def gram_power(place: int) -> np.uint64:
    """Return the factor of the word at a place of a run."""
    return np.uint64(pow(_GRAM_BASE, place, 1 << 64))


def within_texts(hashes: Hashes, text: Numbers) -> Hashes:
    """Make hashes differ between texts, so that only repetitions within a text are equal."""
    return hashes + (text.astype(np.uint64) + np.uint64(1)) * np.uint64(_TEXT_BASE)


def repeats(hashes: Hashes) -> tuple[Numbers, Numbers]:
    """Find what occurs more than once.

    Returns:
        The places of all such hashes, equal ones side by side: shape [repeated]; and where in these each kind begins:
        shape [kinds].
    """
    order = np.argsort(hashes)
    ordered = hashes[order]
    same = ordered[1:] == ordered[:-1]
    repeated = np.zeros(len(hashes), np.bool_)
    repeated[1:] |= same
    repeated[:-1] |= same
    kinds = ordered[repeated]
    return order[repeated], np.flatnonzero(np.concatenate([[True], kinds[1:] != kinds[:-1]])[: len(kinds)])


def later_ones(places: Numbers, kinds: Numbers) -> Numbers:
    """Return the places that `repeats` found, without the first of each kind; sorted."""
    return np.setdiff1d(places, np.minimum.reduceat(places, kinds), assume_unique=True) if len(kinds) else places


def _edges(classes: npt.NDArray[np.uint8], *, alone: bool) -> tuple[Numbers, Numbers]:
    inside = (classes & SPACE) == 0
    parted = ~inside[1:] | ~inside[:-1]
    if alone:
        parted |= ((classes[1:] | classes[:-1]) & ALONE) != 0
    starts, ends = inside.copy(), inside.copy()
    starts[1:] &= parted
    ends[:-1] &= parted
    return np.flatnonzero(starts), np.flatnonzero(ends) + 1


def _mixed(hashes: Hashes) -> Hashes:
    hashes = (hashes ^ (hashes >> np.uint64(33))) * np.uint64(_TEXT_BASE)
    return hashes ^ (hashes >> np.uint64(29))


@cache
def _powers(size: int) -> tuple[Hashes, Hashes]:
    powers, inverses = (np.full(size, base, np.uint64) for base in (_BASE, pow(_BASE, -1, 1 << 64)))
    for each in (powers, inverses):
        each[0] = 1
        np.cumprod(each, out=each)
    return powers, inverses


@cache
def _class_table() -> npt.NDArray[np.uint8]:
    table = np.zeros(0x110000, np.uint8)
    table[:_LAST_LOOKED_AT] = [_class_of(chr(code)) for code in range(_LAST_LOOKED_AT)]
    table[slice(*_RARE_HAN)] = ALPHABETIC | BARE
    for span in (*_HAN_AND_KANA, _RARE_HAN):
        table[slice(*span)] |= ALONE | UNSPACED
    for span in _OTHER_UNSPACED:
        table[slice(*span)] |= UNSPACED
    for characters, kind in _MARKS:
        table[[ord(character) for character in characters]] |= kind
    return table


def _class_of(character: str) -> int:
    if character.isspace():
        return SPACE
    alphabetic = character.isalpha()
    bare = alphabetic or character.isalnum() or unicodedata.category(character)[0] == "M"
    return ALPHABETIC * alphabetic | BARE * bare
