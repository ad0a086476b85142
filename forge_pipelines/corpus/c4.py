"""The rules of C4: Raffel et al. 2020, «Exploring the Limits of Transfer Learning», section 2.2.

They leave out lines, and reject documents. Not among them: the list of bad words, which is an operator's to choose
(`own_rules` takes it), and the spans of three sentences that occur twice, which `duplicates` answers for.
"""

import re
from collections.abc import Collection, Iterator

import numpy as np
from pydantic import Field

from forge_pipelines.corpus.checks import Check, Measured, at_least, at_most
from forge_pipelines.corpus.layout import Layout
from forge_pipelines.corpus.words import MARK, QUOTE, WIDE, Flags, sum_by
from forge_pipelines.manifest import Value

POLICY_PHRASES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
"""The phrases of notices, as section 2.2 lists them."""
_SIGNS = ("javascript", "cookie", "terms of use", "privacy policy")  # every phrase has one of them


# Footnotes' marks, but not the text of a Markdown link.
_CITATION = re.compile(r"\[(?:\d+|edit|citation needed)\](?!\()")


class C4Rules(Value):
    """C4's rules, with the paper's thresholds. `null` or `false` switches a rule off."""

    min_words_per_line: int | None = Field(3, ge=1, description="Lines with fewer words are left out.")
    max_word_length: int | None = Field(
        1000, ge=1, description="Lines with a longer word, in characters, are left out (C4's code, not its paper)."
    )
    terminal_punctuation: bool = Field(
        False,
        description="Leave out lines that end without a punctuation mark. C4 does; FineWeb does not, for it costs a "
        "third of all text, and headings and lists with it.",
    )
    javascript_lines: bool = Field(True, description="Leave out lines that say `javascript`.")
    policy_lines: bool = Field(True, description="Leave out lines that speak of cookies or terms of use.")
    citation_marks: bool = Field(True, description="Leave out marks such as `[1]` and `[citation needed]`.")
    min_sentences: int | None = Field(5, ge=1, description="Fewest sentences, in the lines that are left.")
    lorem_ipsum: bool = Field(True, description="Reject documents that say `lorem ipsum`.")
    curly_brackets: bool = Field(True, description="Reject documents with a `{`.")


def unwanted_lines(rules: C4Rules, layout: Layout, spaced: Flags) -> Flags:
    """Tell which lines the rules leave out: shape [lines].

    Args:
        rules: which rules there are.
        layout: the texts.
        spaced: whether each is written with spaces between words: shape [texts].
    """
    lines = layout.lines
    unwanted = np.zeros(len(lines.text), np.bool_)
    if rules.min_words_per_line is not None:
        unwanted |= (lines.end - lines.first < rules.min_words_per_line) & spaced[lines.text]
    if rules.max_word_length is not None and len(lines.first):
        longest = np.maximum.reduceat(layout.words.lengths, lines.first)
        unwanted |= (longest > rules.max_word_length) & spaced[lines.text]
    if rules.terminal_punctuation:
        unwanted |= ~layout.lines_ending_in(MARK | QUOTE)
    phrases = ("javascript",) * rules.javascript_lines + POLICY_PHRASES * rules.policy_lines
    for number, text in enumerate(layout.texts):
        if phrases and any(sign in text for sign in _SIGNS):
            _mark(unwanted, layout, number, phrases)
    return unwanted


def c4_checks(rules: C4Rules, layout: Layout, unwanted: Flags) -> Iterator[Check]:
    """Hold texts, without their unwanted lines, to the rules that reject."""
    sentences = sum_by(layout.lines.text, _sentences(layout) * ~unwanted, len(layout.texts))
    yield at_least("c4_sentences", sentences, rules.min_sentences, "{} sentences in lines worth keeping")
    for rule, wanted, phrase in (
        ("c4_lorem_ipsum", rules.lorem_ipsum, "lorem ipsum"),
        ("c4_curly_brackets", rules.curly_brackets, "{"),
    ):
        found = np.array([text.count(phrase) for text in layout.texts], np.float64)
        yield at_most(rule, found, 0 if wanted else None, f"{{}} times «{phrase.replace('{', '{{')}»")


def without(text: str, unwanted: Collection[int], rules: C4Rules) -> str:
    """Return a text without the lines of these numbers, and without citation marks."""
    if unwanted:
        text = "\n".join(line for number, line in enumerate(text.split("\n")) if number not in unwanted)
    if rules.citation_marks and "[" in text:
        text = _CITATION.sub("", text)
    return text


def _mark(unwanted: Flags, layout: Layout, number: int, phrases: tuple[str, ...]) -> None:
    written = layout.texts[number].split("\n")
    start, end = np.searchsorted(layout.lines.text, [number, number + 1])
    for place in range(start, end):
        line = written[layout.lines.line[place]]
        unwanted[place] |= any(phrase in line for phrase in phrases)


def _sentences(layout: Layout) -> Measured:
    """Count the sentences of each line, of which each has at least one: shape [lines]."""
    words, lines = layout.words, layout.lines
    last, before = words.classes[words.ends - 1], words.classes[np.maximum(words.ends - 2, words.starts)]
    ends = (np.where(last & QUOTE, before, last) & MARK) != 0
    wide = np.flatnonzero((words.classes & WIDE) != 0)
    inside = np.bincount(np.searchsorted(words.starts, wide, "right") - 1, minlength=len(ends))
    ended = np.concatenate([[0], np.cumsum(np.maximum(ends, inside))])
    sentences: Measured = (ended[lines.end] - ended[lines.first] + ~ends[lines.end - 1]).astype(np.float64)
    return sentences
