"""What every reader gives back."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """The text of a file, its structure as Markdown where that matters, and what kind of file it was."""

    text: str
    media_type: str
