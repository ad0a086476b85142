"""Runs of words that stand in evaluation items: which of them are common text, and how much of an item some make up."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forge_pipelines.corpus.words import Flags, Hashes, Numbers, Words, gram_hashes, slices, words_of

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of one number of words: each kind once, and where it stands in items.

    Attributes:
        size: words of a run.
        hashes: of each kind, rising: shape [kinds].
        bounds: where each kind begins in `item` and `word`, and the end of the last: shape [kinds + 1].
        item: the item in which a run stands, rising within a kind: shape [runs].
        word: the word of the item at which it stands: shape [runs].
    """

    size: int
    hashes: Hashes
    bounds: Numbers
    item: Numbers
    word: Numbers

    def of_kinds(self, kinds: Numbers) -> Numbers:
        """Return the places in `item` and `word` of all runs of some kinds: shape [runs of these kinds]."""
        firsts, counts = self.bounds[kinds], self.bounds[kinds + 1] - self.bounds[kinds]
        begins = np.cumsum(counts) - counts
        places: Numbers = np.repeat(firsts - begins, counts) + np.arange(counts.sum())
        return places

    def num_words(self, places: Numbers) -> tuple[Numbers, Numbers]:
        """Return the items in which some runs stand, and how many words of each they cover: both of shape [items]."""
        order = np.lexsort((self.word[places], self.item[places]))
        item, word = self.item[places][order], self.word[places][order]
        firsts = np.flatnonzero(np.append(True, item[1:] != item[:-1]))
        covered = np.minimum(np.append(np.diff(word), self.size), self.size)
        covered[firsts[1:] - 1] = self.size
        return item[firsts], np.add.reduceat(covered, firsts)


def runs_of(texts: Sequence[str], most: int, fewest: int, sets: Numbers, max_items: Shares) -> Iterator[Runs]:
    """Yield the runs of items by the number of their words: most, and for items with fewer words as many as these have.

    Args:
        texts: the items.
        most: words of a run.
        fewest: items with fewer words than this are left out.
        sets: the number of each item's set, rising: shape [items].
        max_items: runs that stand in more items of a set than this are left out there: shape [sets].
    """
    parts = list(_runs_in_parts(texts, most, fewest))
    for size in sorted({part.size for part in parts}):
        hashes, item, word = (
            np.concatenate([getattr(part, name) for part in parts if part.size == size])
            for name in ("hashes", "item", "word")
        )
        order = np.argsort(hashes, kind="stable")
        hashes, item, word = hashes[order], item[order], word[order]
        rare = _in_few_items(hashes, item, sets, max_items)
        hashes, item, word = hashes[rare], item[rare], word[rare]
        if len(hashes):
            firsts = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1]))
            yield Runs(size, hashes[firsts], np.append(firsts, len(hashes)), item, word)


def bare_words(texts: Sequence[str]) -> Words:
    """Part texts into words in small letters without punctuation, each Han or kana character being a word."""
    return words_of([text.casefold() for text in texts], bare=True)


@dataclass(frozen=True, slots=True)
class _Part:
    size: int
    hashes: Hashes
    item: Numbers
    word: Numbers


def _runs_in_parts(texts: Sequence[str], most: int, fewest: int) -> Iterator[_Part]:
    for part in slices(texts):
        words = bare_words(texts[part])
        counts = np.bincount(words.text, minlength=words.num_texts)
        begins = np.cumsum(counts) - counts
        sizes = np.minimum(counts, most)
        wanted = [int(size) for size in np.unique(sizes) if size >= fewest]
        for size, hashes in gram_hashes(words.hashes, wanted):
            places = np.arange(len(hashes))
            text = words.text[places]
            inside = (sizes[text] == size) & (text == words.text[places + size - 1])
            places, text = places[inside], text[inside]
            yield _Part(size, hashes[places], text + part.start, places - begins[text])


def _in_few_items(hashes: Hashes, item: Numbers, sets: Numbers, max_items: Shares) -> Flags:
    """Tell which runs stand in no more items of their set than they may; equal ones stand side by side."""
    if not len(hashes):
        return np.zeros(0, np.bool_)
    of_set = sets[item]
    begins = np.append(True, (hashes[1:] != hashes[:-1]) | (of_set[1:] != of_set[:-1]))
    another = begins | np.append(True, item[1:] != item[:-1])
    firsts = np.flatnonzero(begins)
    num_items = np.repeat(np.add.reduceat(another.astype(np.intp), firsts), np.diff(firsts, append=len(hashes)))
    few: Flags = num_items <= max_items[of_set]
    return few
