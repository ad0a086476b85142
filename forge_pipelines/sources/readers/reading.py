"""What readers are asked for, and what they give back."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from forge_pipelines.manifest import Segment, Value
from forge_pipelines.sources.place import Refusal
from forge_pipelines.sources.places.config import RecordColumns

Content = bytes | Path
"""A file's bytes; or, for data sets too large to be held, where it stands on this machine."""


class ReadingOptions(Value):
    """How a source's files are read. Two equal files read with equal options are equal documents."""

    ocr: tuple[str, ...] = ()
    max_text_characters: int = 50_000_000
    record_kind: Literal["text", "chat", "preference"] | None = None
    record_columns: RecordColumns = Field(default_factory=RecordColumns)


@dataclass(frozen=True, slots=True)
class Reading:
    """The text of a file, its structure as Markdown where that matters, and what kind of file it was."""

    text: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Record:
    """A chat (each segment's role a speaker) or a preference (the prompt's speakers, then `chosen` and `rejected`)."""

    kind: Literal["chat", "preference"]
    segments: tuple[Segment, ...]
    media_type: str

    @property
    def text(self) -> str:
        """The segments' texts, a blank line between them, as a document's."""
        return "\n\n".join(segment.text for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that stands in a file: the file itself, or what it holds. What holds others comes before them.

    Attributes:
        path: where it stands within the file, such as `!/report.pdf` (an archive's member, a mail's attachment) or
            `#17` (a record); empty for the file itself. The document's ``uri`` is the file's path followed by it.
        parent: path of the part that holds it; None for the file itself.
        raw_sha256: of its own bytes; empty for the file itself, of which it is known, and where they cannot be had.
        outcome: its text; why it has none; or None where it does nothing but hold others.
        language: ISO 639-1 code, where that can be told.
    """

    path: str
    parent: str | None
    raw_sha256: str
    outcome: Reading | Record | Refusal | None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """Word that a member of a file is being read from now on: what happens to the process is that member's doing."""

    path: str
    parent: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Where to go on in a file whose reader was ended: at a member, or after it. What stands before is passed over."""

    path: str
    after: bool


@dataclass(frozen=True, slots=True)
class Member:
    """A file within a file.

    Attributes:
        path: where it stands there, ``!/`` and its name.
        load: gives its bytes; raises `ItemError` where they cannot be had.
    """

    path: str
    load: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Entry:
    """A record within a file of records: its path, ``#`` and its number or name, and what it says."""

    path: str
    outcome: Reading | Record | Refusal


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file gives that holds others: a text of its own, if it has one, and the others, found one by one."""

    own: Reading | None
    held: Iterable[Member | Entry]


Reader = Callable[[bytes], Reading | Contents]
RecordReader = Callable[[Content, ReadingOptions], Contents]
