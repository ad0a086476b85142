"""One file on its way: what was heard of it, and where to go on when its reading process ends before its end."""

from collections import deque
from dataclasses import dataclass, field

from forge_pipelines.sources.place import Refusal
from forge_pipelines.sources.readers.reading import Begun, Content, Part, Reading, Record, Resume

_REST = "!/…"
"""Stands for what a file holds and nobody could name: its reader ended between its members."""


@dataclass(slots=True, eq=False)
class Task:
    """A file to be read.

    Attributes:
        sha256: of its bytes.
        content: its bytes, let go at its end; or where it stands.
        parts: what was heard of it and is not yet taken.
        done: whether its end was heard.
        resume: where a fresh process is to go on.
    """

    sha256: str
    content: Content
    parts: deque[Part] = field(default_factory=deque)
    done: bool = False
    resume: Resume | None = None
    num_characters: int = 0
    _begun: Begun | None = None
    _tried: str | None = None
    _num_heard: int = 0
    _num_repeated: int = 0

    @property
    def size(self) -> int:
        """How much it holds: the bytes of what waits, the characters of what was read."""
        return self.num_bytes + self.num_characters

    @property
    def num_bytes(self) -> int:
        """Size of the content that it holds."""
        return len(self.content) if isinstance(self.content, bytes) else 0

    def hear(self, word: Part | Begun | None) -> None:
        """Take word of a part, of one that is begun, or of the file's end."""
        if isinstance(word, Begun):
            self._begun = word
        elif word is None:
            self.done = True
            self.content = b""
        else:
            self._hear_part(word)

    def take(self) -> Part:
        """Give out the first part that waits."""
        part = self.parts.popleft()
        self.num_characters -= _length(part)
        return part

    def fail(self, refusal: Refusal, *, once_more: bool) -> None:
        """Refuse what was being read when the process ended, and say where to go on; or try it once more.

        What an earlier file left behind, or a signal from outside, does not count against what was being read.
        """
        begun = self._begun
        where = begun.path if begun else ""
        if once_more and self._tried != where:
            self._tried = where
            self.resume = Resume(where, after=False) if begun else None
            self._num_repeated = 0 if begun else self._num_heard
        elif begun:
            self._hear_part(Part(begun.path, begun.parent, "", refusal))
            self.resume = Resume(begun.path, after=True)
        else:
            self._num_repeated = 0
            self._hear_part(Part(_REST if self._num_heard else "", None, "", refusal))
            self.hear(None)

    def _hear_part(self, part: Part) -> None:
        if self._num_repeated:
            self._num_repeated -= 1
            return
        if self._begun and part.path == self._begun.path:
            self._begun = None
        self._num_heard += 1
        self.parts.append(part)
        self.num_characters += _length(part)


def _length(part: Part) -> int:
    return len(part.outcome.text) if isinstance(part.outcome, Reading | Record) else 0
