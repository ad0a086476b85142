"""The quality rules of Gopher: Rae et al. 2021, «Scaling Language Models», appendix A.1.1, «Quality filtering».

Words are what white space parts, in lower case; lines are those that are not blank. Rules that count words say nothing
of scripts that are written without spaces, and the rule of stop words nothing of languages without a list below.
"""

from collections.abc import Iterator, Sequence
from types import MappingProxyType

import numpy as np
from pydantic import Field

from forge_pipelines.corpus.checks import Check, Measured, at_least, at_most
from forge_pipelines.corpus.layout import Layout, share
from forge_pipelines.corpus.words import ALPHABETIC, Flags, hash_of
from forge_pipelines.manifest import Value

STOP_WORDS = MappingProxyType(
    {
        "en": ("the", "be", "to", "of", "and", "that", "have", "with"),  # the paper's own
        "de": ("der", "die", "und", "in", "zu", "das", "mit", "ist"),
        "es": ("de", "la", "que", "el", "en", "y", "los", "con"),
        "fr": ("de", "la", "le", "et", "les", "des", "que", "dans"),
        "it": ("di", "e", "il", "che", "la", "per", "un", "con"),
    }
)
"""The paper's eight English words, and eight of the commonest words of four more languages."""

_BULLETS = np.array([ord(character) for character in "•‣▪●◦∙*-–"], np.uint32)
_ELLIPSIS, _DOT = ord("…"), ord(".")


class GopherRules(Value):
    """Gopher's quality rules, with the paper's thresholds. `null` switches a rule off."""

    min_words: int | None = Field(50, ge=0, description="Fewest words of a document.")
    max_words: int | None = Field(100_000, ge=1, description="Most words of a document.")
    min_mean_word_length: float | None = Field(3, ge=0, description="Least mean length of words, in characters.")
    max_mean_word_length: float | None = Field(10, gt=0, description="Greatest mean length of words, in characters.")
    max_hashes_per_word: float | None = Field(0.1, ge=0, description="Most number signs, as a share of the words.")
    max_ellipses_per_word: float | None = Field(0.1, ge=0, description="Most ellipses, as a share of the words.")
    max_bullet_lines: float | None = Field(0.9, ge=0, le=1, description="Largest share of lines that start so.")
    max_ellipsis_lines: float | None = Field(0.3, ge=0, le=1, description="Largest share of lines that end so.")
    min_alphabetic_words: float | None = Field(0.8, ge=0, le=1, description="Least share of words with a letter.")
    min_stop_words: int | None = Field(2, ge=0, description="How many of the language's stop words must occur.")


def gopher_checks(
    rules: GopherRules, layout: Layout, languages: Sequence[str | None], spaced: Flags
) -> Iterator[Check]:
    """Hold texts to the rules.

    Args:
        rules: the thresholds.
        layout: the texts.
        languages: ISO 639-1 code of each, if known: shape [texts].
        spaced: whether each is written with spaces between words: shape [texts].
    """
    words = layout.words.total(np.ones(len(layout.words.text)))
    length = share(layout.characters, words)
    hashes = _counts(layout, "#")
    ellipses = _counts(layout, "...") + _counts(layout, "…")
    yield at_least("gopher_words", words, rules.min_words, "{} words", spaced)
    yield at_most("gopher_words", words, rules.max_words, "{} words", spaced)
    title = "a mean word length of {} characters"
    yield at_least("gopher_word_length", length, rules.min_mean_word_length, title, spaced)
    yield at_most("gopher_word_length", length, rules.max_mean_word_length, title, spaced)
    yield at_most("gopher_hashes", share(hashes, words), rules.max_hashes_per_word, "{} # a word", spaced)
    yield at_most("gopher_ellipses", share(ellipses, words), rules.max_ellipses_per_word, "{} ellipses a word", spaced)
    starting = "a share of {} of the lines starts with a bullet"
    yield at_most("gopher_bullets", _bullets(layout), rules.max_bullet_lines, starting)
    ending = "a share of {} of the lines ends with an ellipsis"
    yield at_most("gopher_ellipsis_lines", _ellipsis_lines(layout), rules.max_ellipsis_lines, ending)
    alphabetic = share(_alphabetic_words(layout), words)
    title = "a share of {} of the words has a letter"
    yield at_least("gopher_alphabetic_words", alphabetic, rules.min_alphabetic_words, title, spaced)
    known = np.array([language in STOP_WORDS for language in languages])
    stop_words = _stop_words(layout, languages)
    yield at_least("gopher_stop_words", stop_words, rules.min_stop_words, "{} of the language's stop words", known)


def _counts(layout: Layout, sign: str) -> Measured:
    return np.array([text.count(sign) for text in layout.texts], np.float64)


def _bullets(layout: Layout) -> Measured:
    return layout.share_of_lines(np.isin(layout.line_starts(), _BULLETS))


def _ellipsis_lines(layout: Layout) -> Measured:
    last, second, third = (layout.line_ends(back) for back in (1, 2, 3))
    return layout.share_of_lines((last == _ELLIPSIS) | ((last == _DOT) & (second == _DOT) & (third == _DOT)))


def _alphabetic_words(layout: Layout) -> Measured:
    words = layout.words
    # A word's part of the array ends where the next one starts: the blanks between them hold no letter.
    letters = np.bitwise_or.reduceat(words.classes, words.starts) & ALPHABETIC if len(words.starts) else words.starts
    return words.total(letters != 0)


def _stop_words(layout: Layout, languages: Sequence[str | None]) -> Measured:
    """Count the different stop words of its own language that each text has."""
    words, found = layout.words, np.zeros(len(layout.texts))
    for language in STOP_WORDS.keys() & set(languages):
        among = np.array([each == language for each in languages])
        for word in STOP_WORDS[language]:
            has = np.zeros(len(layout.texts), np.bool_)
            has[words.text[words.hashes == hash_of(word)]] = True
            found += has & among
    return found
