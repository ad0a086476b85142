"""The lines and paragraphs of many texts at once, as arrays over their words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forge_pipelines.corpus.words import (
    Flags,
    Numbers,
    Words,
    later_ones,
    repeats,
    sequence_hashes,
    sum_by,
    within_texts,
    words_of,
)

_LINE_FEED = 10


@dataclass(frozen=True, slots=True)
class Parts:
    """Lines that are not blank, or paragraphs: each with its text, its words, and its place among all lines.

    Attributes:
        line: number of the (first) line, from 0 in each text: shape [parts].
        text: number of the text: shape [parts].
        first: its first word: shape [parts].
        end: the word after its last: shape [parts].
        characters: length of its words, in characters: shape [parts].
        again: whether the same words have been a part of the text before: shape [parts].
    """

    line: Numbers
    text: Numbers
    first: Numbers
    end: Numbers
    characters: Numbers
    again: Flags


@dataclass(frozen=True, slots=True)
class Layout:
    """Some texts, their words in lower case, lines and paragraphs, and how many characters their words have."""

    texts: Sequence[str]
    words: Words
    lines: Parts
    paragraphs: Parts
    characters: npt.NDArray[np.float64]

    def share_of_lines(self, those: Flags) -> npt.NDArray[np.float64]:
        """Return which share of each text's lines is among those: shape [texts]; 0 where there is no line."""
        return share(self.count_lines(those), self.count_lines(np.ones(len(those), np.bool_)))

    def count_lines(self, those: Flags) -> npt.NDArray[np.float64]:
        """Return how many of each text's lines are among those: shape [texts]."""
        return sum_by(self.lines.text, those, len(self.texts))

    def line_starts(self) -> npt.NDArray[np.uint32]:
        """Return the first character of each line, as a code point: shape [lines]."""
        return self.words.codes[self.words.starts[self.lines.first]]

    def line_ends(self, back: int = 1) -> npt.NDArray[np.uint32]:
        """Return the last character of each line, or one that stands before it, as a code point: shape [lines]."""
        return self.words.codes[np.maximum(self.words.ends[self.lines.end - 1] - back, 0)]

    def lines_ending_in(self, kinds: int) -> Flags:
        """Tell which lines end in a character of one of some kinds (constants of `words`): shape [lines]."""
        last = self.words.classes[self.words.ends[self.lines.end - 1] - 1]
        ending: Flags = (last & kinds) != 0
        return ending


def lay_out(texts: Sequence[str]) -> Layout:
    """Find words, lines and paragraphs of at least one text."""
    lowered = [text.lower() for text in texts]
    words = words_of(lowered)
    feeds = np.flatnonzero(words.codes == _LINE_FEED)
    begins = np.concatenate([[0], feeds + 1])  # the last one begins no line: it is the end
    first = np.searchsorted(words.starts, begins)
    text = np.searchsorted(words.bounds, begins[:-1], "right") - 1
    line = np.arange(len(feeds)) - np.searchsorted(begins, words.bounds[:-1])[text]
    written = first[1:] > first[:-1]
    opens = written.copy()
    opens[1:] &= ~written[:-1] | (text[1:] != text[:-1])
    lines = _parts(words, line[written], text[written], first[:-1][written])
    paragraphs = _parts(words, line[opens], text[opens], first[:-1][opens])
    return Layout(lowered, words, lines, paragraphs, words.total(words.lengths))


def share(part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Divide, and let a part of nothing be 0."""
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def _parts(words: Words, line: Numbers, text: Numbers, first: Numbers) -> Parts:
    end = np.append(first[1:], len(words.starts)) if len(first) else first
    sums = np.concatenate([[0], np.cumsum(words.lengths)])
    again = np.zeros(len(first), np.bool_)
    again[later_ones(*repeats(within_texts(sequence_hashes(words.hashes, first, end), text)))] = True
    return Parts(line, text, first, end, sums[end] - sums[first], again)
