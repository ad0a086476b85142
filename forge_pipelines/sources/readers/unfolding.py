"""A file and what it holds, down to the last member: each part is read, refused or passed over on its own."""

import hashlib
import re
import resource
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from forge_pipelines.manifest import sha256_text
from forge_pipelines.sources.place import ItemError, Refusal
from forge_pipelines.sources.readers.language import language_of
from forge_pipelines.sources.readers.reading import (
    Begun,
    Content,
    Contents,
    Entry,
    Member,
    Part,
    Reading,
    ReadingOptions,
    Record,
    Resume,
)
from forge_pipelines.sources.readers.records import read_records
from forge_pipelines.sources.readers.registry import read_format
from forge_pipelines.sources.readers.unpacking import is_packed, most_unpacked_bytes, unpack

_DEEPEST = 4
_MOST_MEMBERS = 10_000
_LONGEST_REASON = 200
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")

_SENTENCE = "The model that tells languages is loaded when it is first asked about a sentence."

Outcome = Reading | Record | Refusal | None


def prepare() -> None:
    """Load what most files need: the time that the first of them has is its own."""
    import pypdfium2  # noqa: F401
    import trafilatura  # noqa: F401

    language_of(_SENTENCE)


def read(content: Content, options: ReadingOptions, resume: Resume | None = None) -> Iterator[Part | Begun]:
    """Yield a file's own part and those of all that it holds, what holds others first.

    Whatever a part's reader raises, it is that part's refusal, and the others go on. A part of more than
    ``options.max_text_characters`` is refused.

    Args:
        content: the file.
        options: how it is read.
        resume: go on there, without a word of what stands before.
    """
    if options.record_kind is not None:
        yield from _Unfolding(options, most_bytes=0, resume=None).records(content)
    else:
        assert isinstance(content, bytes), "only files of records are read in their place"
        yield from _Unfolding(options, most_unpacked_bytes(len(content)), resume).part(content, "", None)


@dataclass(slots=True)
class _Unfolding:
    options: ReadingOptions
    most_bytes: int
    resume: Resume | None
    num_bytes: int = 0
    num_members: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    def part(self, content: bytes, path: str, parent: str | None, depth: int = 0) -> Iterator[Part | Begun]:
        raw_sha256 = hashlib.sha256(content).hexdigest() if path else ""  # the file's own is known
        found = _guarded(lambda: read_format(_unpacked(content)))
        own = found.own if isinstance(found, Contents) else found
        if self.resume is None or self.resume.path == path:
            self.resume = None
            yield _part(path, parent, raw_sha256, own, self.options)
        if isinstance(found, Contents):
            yield from self._held(found.held, path, depth)

    def records(self, content: Content) -> Iterator[Part | Begun]:
        contents = _guarded(lambda: read_records(content, self.options))
        yield Part("", None, "", contents if isinstance(contents, Refusal) else None)
        if isinstance(contents, Contents):
            yield from self._held(contents.held, "", 0)

    def _held(self, held: Iterable[Member | Entry], path: str, depth: int) -> Iterator[Part | Begun]:
        members = iter(held)
        number = 0
        while True:
            number += 1
            member = _guarded(lambda: next(members, None))
            if member is None:
                return
            if isinstance(member, Refusal):
                reason = f"holds more than can be read, from the {number}. on: it {member.reason}"
                yield Part(f"{path}!/…", path, "", replace(member, reason=reason))
                return
            if isinstance(member, Entry):
                if self.resume is None:
                    yield _entry(member, path, self.options)
            else:
                yield from self._member(member, path, depth)

    def _member(self, member: Member, holder: str, depth: int) -> Iterator[Part | Begun]:
        path = self._unique(holder + member.path)
        if self.resume is not None and not self._reached(path):
            return
        if self.resume is None or self.resume.path == path:
            yield Begun(path, holder)
        content = _guarded(lambda: self._load(member, depth))
        if isinstance(content, Refusal):
            self.resume = None
            yield Part(path, holder, "", content)
        else:
            yield from self.part(content, path, holder, depth + 1)

    def _reached(self, path: str) -> bool:
        """Tell whether a member is to be looked at: it, or one that it holds, is where to go on."""
        assert self.resume is not None
        if self.resume.path == path and self.resume.after:
            self.resume = None
            return False
        return self.resume.path == path or self.resume.path.startswith((f"{path}!/", f"{path}#"))

    def _load(self, member: Member, depth: int) -> bytes:
        self.num_members += 1
        if depth >= _DEEPEST:
            raise ItemError("bomb", f"stands in more than {_DEEPEST} archives within each other; unpack it")
        if self.num_members > _MOST_MEMBERS:
            raise ItemError("bomb", f"stands in a file that holds more than {_MOST_MEMBERS:,} others; unpack it")
        content = member.load() if self.num_bytes <= self.most_bytes else b""  # a bomb's rest is not even unpacked
        self.num_bytes += len(content)
        if self.num_bytes > self.most_bytes:
            raise ItemError("bomb", f"would unpack to more than {self.most_bytes:,} bytes with what stands before it")
        return content

    def _unique(self, path: str) -> str:
        self.seen[path] += 1
        return path if self.seen[path] == 1 else f"{path}~{self.seen[path]}"


def canonical_text(text: str) -> str:
    """Return the text with line feeds as line ends and no byte-order mark. All other cleaning is the corpus's."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _part(path: str, parent: str | None, raw_sha256: str, outcome: Outcome, options: ReadingOptions) -> Part:
    """Return a part in its final form: its text canonical and within bounds, its language told; else its refusal."""
    if isinstance(outcome, Reading):
        outcome = replace(outcome, text=canonical_text(outcome.text))
    elif isinstance(outcome, Record):
        segments = tuple(replace(segment, text=canonical_text(segment.text)) for segment in outcome.segments)
        outcome = replace(outcome, segments=segments)
    else:
        return Part(path, parent, raw_sha256, outcome)
    refusal = _refusal_of(outcome.text, options)
    if refusal is not None:
        return Part(path, parent, raw_sha256, refusal)
    return Part(path, parent, raw_sha256, outcome, language_of(outcome.text))


def _refusal_of(text: str, options: ReadingOptions) -> Refusal | None:
    if not text.strip():
        return Refusal("empty", "holds no text")
    limit = options.max_text_characters
    if len(text) > limit:
        reason = f"holds {len(text):,} characters of text, more than reading.max_text_characters ({limit:,}) allows"
        return Refusal("too_much_text", reason)
    return None


def _entry(entry: Entry, holder: str, options: ReadingOptions) -> Part:
    outcome = entry.outcome
    said = outcome.reason if isinstance(outcome, Refusal) else outcome.text
    return _part(holder + entry.path, holder, sha256_text(said), outcome, options)


T = TypeVar("T")


def _guarded(work: Callable[[], T]) -> T | Refusal:
    """Do what a library may fail at in any way; whatever it raises is a refusal."""
    try:
        return work()
    except ItemError as refused:
        return refused.refusal
    except MemoryError:
        allowed = resource.getrlimit(resource.RLIMIT_DATA)[0]
        return Refusal("too_much_memory", f"needs more memory than reading.memory_bytes ({allowed:,}) allows")
    except Exception as error:  # noqa: BLE001 - what a library raises on a damaged file is anybody's guess
        return Refusal("damaged", f"cannot be read: {_described(error)}")


def _described(error: Exception) -> str:
    """Return the error's class and the first line of its message, which is the same whenever the file is read."""
    lines = str(error).encode("utf-8", "replace").decode().split("\n")
    return f"{type(error).__name__}: {_ADDRESS.sub('', lines[0])}".removesuffix(": ")[:_LONGEST_REASON]


def _unpacked(content: bytes) -> bytes:
    """Return what gzip, bzip2 or xz packed, or the content itself.

    Raises:
        ItemError: what it packed is damaged, too large, or packed once more.
    """
    if not is_packed(content):
        return content
    content = unpack(content)
    if is_packed(content):
        raise ItemError("bomb", "is packed data within packed data; unpack it beforehand")
    return content
