"""Gopher's rules against repetition: Rae et al. 2021, «Scaling Language Models», appendix A.1.1 and table A1.

Shares of characters are of the characters of all words, blanks left out. What occurs again counts, its first occurrence
does not; characters under several repeated runs of words count once, as the paper says.
"""

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from forge_pipelines.corpus.checks import Check, Measured, at_most
from forge_pipelines.corpus.layout import Layout, Parts, share
from forge_pipelines.corpus.words import Flags, Numbers, gram_power, later_ones, repeats, sum_by, within_texts
from forge_pipelines.manifest import Value

_TOP = (2, 3, 4)
_DUPLICATE = (5, 6, 7, 8, 9, 10)


class RepetitionRules(Value):
    """Gopher's rules against repetition: the largest shares that pass, as in table A1. `null` switches a rule off."""

    lines: float | None = Field(0.30, ge=0, le=1, description="Of lines: lines that occur again.")
    paragraphs: float | None = Field(0.30, ge=0, le=1, description="Of paragraphs: those that occur again.")
    line_characters: float | None = Field(0.20, ge=0, le=1, description="Of characters: in lines that occur again.")
    paragraph_characters: float | None = Field(0.20, ge=0, le=1, description="Of characters: in such paragraphs.")
    top_2_gram: float | None = Field(0.20, ge=0, le=1, description="Of characters: in the commonest 2 words.")
    top_3_gram: float | None = Field(0.18, ge=0, le=1, description="Of characters: in the commonest 3 words.")
    top_4_gram: float | None = Field(0.16, ge=0, le=1, description="Of characters: in the commonest 4 words.")
    duplicate_5_grams: float | None = Field(0.15, ge=0, le=1, description="Of characters: in 5 words said again.")
    duplicate_6_grams: float | None = Field(0.14, ge=0, le=1, description="Of characters: in 6 words said again.")
    duplicate_7_grams: float | None = Field(0.13, ge=0, le=1, description="Of characters: in 7 words said again.")
    duplicate_8_grams: float | None = Field(0.12, ge=0, le=1, description="Of characters: in 8 words said again.")
    duplicate_9_grams: float | None = Field(0.11, ge=0, le=1, description="Of characters: in 9 words said again.")
    duplicate_10_grams: float | None = Field(0.10, ge=0, le=1, description="Of characters: in 10 words said again.")


def repetition_checks(rules: RepetitionRules, layout: Layout, spaced: Flags) -> Iterator[Check]:
    """Hold texts to the rules; those over words speak of the texts that are `spaced`: shape [texts]."""
    for name, parts in (("line", layout.lines), ("paragraph", layout.paragraphs)):
        again, counted = (sum_by(parts.text, each, len(layout.texts)) for each in (parts.again, parts.line >= 0))
        number = share(again, counted)
        bound = getattr(rules, f"{name}s")
        yield at_most(f"repetition_{name}s", number, bound, f"a share of {{}} of the {name}s occurs again")
        characters, bound = repeated_characters(layout, parts), getattr(rules, f"{name}_characters")
        title = f"a share of {{}} of the characters is in {name}s that occur again"
        yield at_most(f"repetition_{name}_characters", characters, bound, title)
    yield from _gram_checks(rules, layout, spaced)


def repeated_characters(layout: Layout, parts: Parts) -> Measured:
    """Return the share of each text's characters that stands in lines or paragraphs that occur again."""
    return share(sum_by(parts.text, parts.characters * parts.again, len(layout.texts)), layout.characters)


def _gram_checks(rules: RepetitionRules, layout: Layout, spaced: Flags) -> Iterator[Check]:
    for size, places, kinds in _repeated_grams(layout):
        if size in _TOP:
            top = _top_share(layout, size, places, kinds)
            title = f"a share of {{}} of the characters is in its commonest {size} words"
            yield at_most(f"repetition_top_{size}_gram", top, getattr(rules, f"top_{size}_gram"), title, spaced)
        else:
            covered = _covered_share(layout, size, later_ones(places, kinds))
            title = f"a share of {{}} of the characters is in runs of {size} words that occur again"
            bound = getattr(rules, f"duplicate_{size}_grams")
            yield at_most(f"repetition_duplicate_{size}_grams", covered, bound, title, spaced)


def _repeated_grams(layout: Layout) -> Iterator[tuple[int, Numbers, Numbers]]:
    """Yield, for each size, what `repeats` says of runs of so many words: one repeats only where a shorter one does."""
    words = layout.words
    places, hashes = np.arange(len(words.text)), within_texts(words.hashes, words.text)
    for size in range(2, _DUPLICATE[-1] + 1):
        last = np.minimum(places + size - 1, len(words.text) - 1)
        inside = (words.text[last] == words.text[places]) & (last == places + size - 1)
        places, last, hashes = places[inside], last[inside], hashes[inside]
        hashes = hashes + words.hashes[last] * gram_power(size - 1)
        found, kinds = repeats(hashes)
        places, hashes = places[found], hashes[found]
        yield size, places, kinds


def _top_share(layout: Layout, size: int, places: Numbers, kinds: Numbers) -> Measured:
    counts = np.diff(np.append(kinds, len(places)))
    heads = places[kinds]
    text = layout.words.text[heads]
    sums = np.concatenate([[0], np.cumsum(layout.words.lengths)])
    characters = sums[heads + size] - sums[heads]
    top = np.zeros(len(layout.texts))
    # The last to be written is the commonest of its text; of several, the longest.
    order = np.lexsort((characters, counts, text))
    top[text[order]] = (counts * characters)[order]
    return np.minimum(share(top, layout.characters), 1.0)


def _covered_share(layout: Layout, size: int, places: Numbers) -> Measured:
    covered = np.zeros(len(layout.words.text), np.bool_)
    for step in range(size):
        covered[places + step] = True
    return share(layout.words.total(layout.words.lengths * covered), layout.characters)
