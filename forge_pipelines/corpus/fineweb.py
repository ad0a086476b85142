"""The rules that FineWeb adds to Gopher's and C4's: Penedo et al. 2024, «The FineWeb Datasets», section 3.5.

Lines are those that are not blank: FineWeb's own texts have no others.
"""

from collections.abc import Iterator

from pydantic import Field

from forge_pipelines.corpus.checks import Check, at_least, at_most
from forge_pipelines.corpus.layout import Layout
from forge_pipelines.corpus.repetition import repeated_characters
from forge_pipelines.corpus.words import MARK, QUOTE
from forge_pipelines.manifest import Value


class FineWebRules(Value):
    """FineWeb's own rules, with the paper's thresholds. `null` switches a rule off."""

    min_punctuated_lines: float | None = Field(
        0.12, ge=0, le=1, description="Least share of lines that end with a mark."
    )
    max_repeated_line_characters: float | None = Field(
        0.1, ge=0, le=1, description="Largest share of characters in lines that occur again."
    )
    max_short_lines: float | None = Field(0.67, ge=0, le=1, description="Largest share of lines that are short.")
    short_line_characters: int = Field(30, ge=1, description="A line with fewer characters is short.")


def fineweb_checks(rules: FineWebRules, layout: Layout) -> Iterator[Check]:
    """Hold texts to the rules."""
    punctuated = layout.share_of_lines(layout.lines_ending_in(MARK | QUOTE))
    title = "a share of {} of the lines ends with a punctuation mark"
    yield at_least("fineweb_punctuation", punctuated, rules.min_punctuated_lines, title)
    repeated, bound = repeated_characters(layout, layout.lines), rules.max_repeated_line_characters
    title = "a share of {} of the characters is in lines that occur again"
    yield at_most("fineweb_repeated_lines", repeated, bound, title)
    words, lines = layout.words, layout.lines
    short = words.ends[lines.end - 1] - words.starts[lines.first] < rules.short_line_characters
    title = f"a share of {{}} of the lines has fewer than {rules.short_line_characters} characters"
    yield at_most("fineweb_short_lines", layout.share_of_lines(short), rules.max_short_lines, title)
