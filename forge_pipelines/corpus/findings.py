"""What became of a corpus's expectations: of each one, and of all together."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from textwrap import shorten
from typing import Any

from forge_pipelines.errors import DataError

_SHOWN_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one expectation.

    Attributes:
        column: the column or columns that it speaks of; None when it speaks of the whole table.
        observed: the value that was compared, where the expectation has one.
        rows: rows that were looked at, where the expectation looks at rows.
        unexpected: those of them that do not meet it.
        examples: a few of the values that do not meet it.
        words: how it failed, where the numbers alone do not say it.
    """

    type: str
    column: str | None
    kwargs: Mapping[str, Any]
    severity: str
    success: bool
    observed: Any
    rows: int | None
    unexpected: int | None
    examples: tuple[str, ...]
    words: str = ""

    @property
    def expectation(self) -> str:
        """Its name for people: the type, and the columns that it speaks of."""
        return f"{self.type}({self.column or ''})"

    @property
    def sentence(self) -> str:
        """How it failed, in words without a full stop."""
        place = f" on {self.column}" if self.column else ""
        return self.words or f"{self.type}{place} {self.failure}"

    @property
    def failure(self) -> str:
        """The sentence without its subject."""
        if self.words:
            return self.words
        sentence = "does not hold"
        if self.rows is not None:
            sentence += f" for {self.unexpected} of {self.rows} rows"
        if self.observed is not None:
            sentence += f": observed {shorten(str(self.observed), _SHOWN_CHARACTERS)}"
        if self.examples:
            sentence += f", for example {shorten(', '.join(self.examples), _SHOWN_CHARACTERS)}"
        return sentence


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings in the order of the list, and Great Expectations' own result as JSON, for its Data Docs."""

    each: tuple[Finding, ...]
    result: Mapping[str, Any]

    def with_more(self, findings: Iterable[Finding]) -> "Findings":
        """Return these findings and others, that Great Expectations does not know of."""
        return Findings((*self.each, *findings), self.result)

    def failed(self, severity: str) -> list[Finding]:
        """Return the findings of a severity that do not hold."""
        return [finding for finding in self.each if not finding.success and finding.severity == severity]

    def rows(self) -> list[dict[str, Any]]:
        """Return the findings as JSON-able rows, each with the expectation's name, and the sentence if it failed."""
        return [
            {**asdict(each), "expectation": each.expectation, "message": "" if each.success else each.sentence}
            for each in self.each
        ]

    def require(self, corpus: str) -> None:
        """Make sure that every expectation whose severity is ``error`` holds.

        Raises:
            DataError: one does not.
        """
        errors = self.failed("error")
        if errors:
            sentences = "; ".join(finding.sentence for finding in errors)
            raise DataError(f"corpus {corpus} is not what it must be, and nothing was published: {sentences}")
