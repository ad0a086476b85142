"""A text as the set of its shingles, hashed: what near-copies are compared by.

A shingle is five words in a row, case-folded. A word is a run of letters, marks and digits; in scripts that put no
space between words each character counts as one, so that a shingle there is five characters. A text of fewer than five
words is the set of its words. All is computed by numpy over many texts at once, because a loop over words in Python
takes twenty times as long.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

WORDS_PER_SHINGLE = 5
PIECE_CHARACTERS = 1 << 18
"""What is hashed at once. A longer text is cut at its multiples; a word that stands across a cut counts as two."""

_APART, _LETTER, _ALONE = 0, 1, 2
_NUM_CODES = 0x40000  # no script has letters in the planes above; the last code, as which they count, is none either
_SPACELESS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # ideographic marks
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana extensions
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFD),
)
_BASE = 0x9E3779B97F4A7C15
_STEP = np.uint64(0xD1342543DE82EF95)


@dataclass(frozen=True, slots=True)
class Shingles:
    """The sets of N texts, one behind the other.

    Attributes:
        hashes: the shingles' 64-bit hashes, ascending within a text and each once.
        offsets: where each text's set begins and the last one ends, ``[N + 1]``.
    """

    hashes: U64
    offsets: I64


def shingles(texts: Iterable[str]) -> Iterator[Shingles]:
    """Yield the sets of shingles of texts, of some texts at a time, in their order. A text without a word has none."""
    for group in _groups(texts):
        hashes, counts = _of_group(group)
        yield Shingles(hashes, _offsets(counts))


def _groups(texts: Iterable[str]) -> Iterator[list[str]]:
    # Texts that fit into one piece together, or a longer one alone: so cuts do not depend on a text's neighbours.
    group: list[str] = []
    room = PIECE_CHARACTERS
    for text in texts:
        folded = text.casefold()
        if group and len(folded) >= room:
            yield group
            group, room = [], PIECE_CHARACTERS
        group.append(folded)
        room -= len(folded) + 1
    if group:
        yield group


def _of_group(texts: list[str]) -> tuple[U64, I64]:
    words, counts = _words(texts)
    is_short = counts < WORDS_PER_SHINGLE
    sizes = np.where(is_short, counts, counts - (WORDS_PER_SHINGLE - 1))
    ends = np.repeat(_offsets(counts)[1:], counts)
    of_short = np.repeat(is_short, counts)
    values = words.copy()
    windows = _windows(words)
    values[: len(windows)] = np.where(of_short[: len(windows)], words[: len(windows)], windows)
    is_whole = of_short | (np.arange(len(words)) + WORDS_PER_SHINGLE <= ends)
    return _as_sets(values[is_whole], sizes)


def _windows(words: U64) -> U64:
    num_windows = max(0, len(words) - (WORDS_PER_SHINGLE - 1))
    windows = words[:num_windows].copy()
    for place in range(1, WORDS_PER_SHINGLE if num_windows else 0):
        windows *= _STEP
        windows += words[place : place + num_windows]
    return _mixed(windows)


def _as_sets(values: U64, sizes: I64) -> tuple[U64, I64]:
    offsets = _offsets(sizes)
    for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        values[start:end].sort()
    is_first = np.ones(len(values), bool)
    is_first[1:] = values[1:] != values[:-1]
    is_first[offsets[:-1][sizes > 0]] = True
    return values[is_first], np.diff(_offsets(is_first)[offsets])


def _words(texts: list[str]) -> tuple[U64, I64]:
    joined = "\n".join(texts)
    pieces = [
        _words_of_piece(joined[start : start + PIECE_CHARACTERS], start)
        for start in range(0, max(1, len(joined)), PIECE_CHARACTERS)
    ]
    hashes = np.concatenate([hashes for hashes, _ in pieces])
    starts = np.concatenate([starts for _, starts in pieces])
    borders = _offsets(np.array([len(text) + 1 for text in texts]))
    return hashes, np.diff(np.searchsorted(starts, borders))


def _words_of_piece(piece: str, at: int) -> tuple[U64, I64]:
    # A polynomial hash of every word from one running sum (Karp and Rabin 1987, modulo 2**64).
    powers, inverses = _powers()
    codes = np.frombuffer(piece.encode("utf-32-le", "surrogatepass"), "<u4")
    kind = np.zeros(len(codes) + 2, np.uint8)
    kind[1:-1] = _kinds().take(codes, mode="clip")
    is_letter, is_alone = kind == _LETTER, kind[1:-1] == _ALONE
    starts = np.flatnonzero(is_alone | (is_letter[1:-1] & ~is_letter[:-2]))
    ends = np.flatnonzero(is_alone | (is_letter[1:-1] & ~is_letter[2:]))
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(codes * powers[: len(codes)], out=sums[1:])
    return _mixed((sums[ends + 1] - sums[starts]) * inverses[starts]), starts + at


@cache
def _kinds() -> npt.NDArray[np.uint8]:
    categories = (unicodedata.category(chr(code))[0] for code in range(_NUM_CODES))
    is_word = np.fromiter((category in "LMN" for category in categories), bool, _NUM_CODES)
    kinds = np.where(is_word, _LETTER, _APART).astype(np.uint8)
    for first, last in _SPACELESS:
        kinds[first : last + 1][is_word[first : last + 1]] = _ALONE
    return kinds


@cache
def _powers() -> tuple[U64, U64]:
    inverse = pow(_BASE, -1, 1 << 64)
    powers, inverses = (
        np.cumprod(np.full(PIECE_CHARACTERS, base, np.uint64), dtype=np.uint64) for base in (_BASE, inverse)
    )
    return powers, inverses


def _mixed(values: U64) -> U64:
    # The finaliser of SplitMix64 (Steele, Lea and Flood 2014), in place.
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def _offsets(counts: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> I64:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets
