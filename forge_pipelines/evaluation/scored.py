"""What is scored of a document. Values alone: no input or output here."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Part = Literal["text", "answers", "chosen", "rejected"]
"""What of a document a scored text is: all of it, the answers of a chat, or one of the two answers of a preference."""

Spans = tuple[tuple[int, int], ...]
"""Stretches of a text, from a character to before another, in their order."""


@dataclass(frozen=True, slots=True)
class ScoredText:
    """A text that the networks are shown, and what of it counts.

    Attributes:
        text: plain text, or a conversation as the model's chat template writes it.
        general: whether it is general text, and not of the model's own corpora.
        part: what of the document it is.
        spans: the stretches that are scored, given what stands before them; None for all of a plain text.
    """

    doc_id: str
    source: str
    uri: str
    text: str
    general: bool
    part: Part = "text"
    spans: Spans | None = None

    @property
    def scored(self) -> str:
        """What is scored of the text."""
        if self.spans is None:
            return self.text
        return "".join(self.text[start:stop] for start, stop in self.spans)


def tokens_within(spans: Spans, tokens: Iterable[tuple[int, int]]) -> list[int]:
    """Return the places of the tokens that stand whole within a span; never the first, which nothing stands before.

    Args:
        tokens: of each its first character, and the one after its last.
    """
    return [
        place
        for place, (start, stop) in enumerate(tokens)
        if place and any(first <= start and stop <= last for first, last in spans)
    ]
