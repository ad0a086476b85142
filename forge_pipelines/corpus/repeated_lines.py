"""Lines that repeat across a source: headers, footers, disclaimers. Counted in a first pass, left out in a second.

The rule speaks of prose alone: in code and tables a line means what stands around it, and in chats and preferences the
same question may be asked of many.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from forge_pipelines.corpus.normalize import blanks_matter, canonical
from forge_pipelines.corpus.steps import Outcome, reject
from forge_pipelines.manifest import Document, Name, Rejection, Segment, Value, sha256_text

RULE = "repeated_lines"

_HASH_BYTES = 8
_PARTITIONS = 256
_PENDING_HASHES = 1 << 20

Hashes = npt.NDArray[np.uint64]


class RepeatedLinesRule(Value):
    """Which lines repeat: those in more than a share of a source's documents, and in enough of them."""

    share: float = Field(0.1, gt=0, lt=1, description="Lines in a larger share of a source's documents are left out.")
    min_documents: int = Field(10, ge=2, description="And in at least so many of them.")
    min_characters: int = Field(20, ge=1, description="Shorter lines stay; in characters, without blanks around them.")


@dataclass(frozen=True, slots=True)
class LineHashes:
    """What the first pass needs to know of a document.

    Attributes:
        text: a hash of its text: copies count once.
        is_prose: whether the rule speaks of it.
        lines: a hash of each different line, ascending: shape [lines].
    """

    source: Name
    text: int
    is_prose: bool
    lines: Hashes


class LineTable:
    """Hashes of lines as rows."""

    schema = pa.schema(
        [("source", pa.string()), ("text", pa.string()), ("is_prose", pa.bool_()), ("lines", pa.large_binary())]
    )

    def row(self, hashes: LineHashes) -> Mapping[str, Any]:
        """Return the hashes of a document as a row."""
        return {
            "source": hashes.source,
            "text": f"{hashes.text:016x}",
            "is_prose": hashes.is_prose,
            "lines": hashes.lines.tobytes(),
        }

    def values(self, rows: pa.Table) -> list[LineHashes]:
        """Return the hashes that rows hold."""
        columns = (rows.column(name).to_pylist() for name in self.schema.names)
        return [
            LineHashes(source, int(text, 16), is_prose, np.frombuffer(lines, np.uint64))
            for source, text, is_prose, lines in zip(*columns, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class RepeatedLines:
    """The hashes of the lines that repeat, by source."""

    by_source: Mapping[Name, frozenset[bytes]]
    min_characters: int

    def among(self, documents: Sequence[LineHashes]) -> list[Hashes]:
        """Return the lines of each document that repeat in its source, ascending."""
        none = np.zeros(0, np.uint64)
        repeated = {
            source: np.frombuffer(b"".join(sorted(lines)), np.uint64)
            for source, lines in self.by_source.items()
            if lines
        }
        return [
            each.lines[np.isin(each.lines, repeated[each.source])] if each.source in repeated else none
            for each in documents
        ]


class LineCounts:
    """In how many documents of its source each line occurs, counted exactly, whatever the order of the documents.

    In memory stand at most 1,048,576 hashes of 8 bytes of each source, one of 8 bytes for each document (with what
    Python adds: below 100 bytes), and, while counting, a 256th of one source's hashes; the others stand in a folder.
    """

    def __init__(self, folder: Path, rule: RepeatedLinesRule) -> None:
        """Count into files of an empty folder."""
        self._folder = folder
        self._rule = rule
        self._texts: dict[Name, set[int]] = {}
        self._pending: dict[Name, list[Hashes]] = {}
        self._num_pending: dict[Name, int] = {}

    def add(self, documents: Iterable[Document]) -> None:
        """Count the lines of documents."""
        self.add_hashes(line_hashes(documents, self._rule))

    def add_hashes(self, documents: Iterable[LineHashes]) -> None:
        """Count lines that `line_hashes` has hashed, perhaps in another process."""
        for document in filter(lambda each: each.is_prose, documents):
            texts = self._texts.setdefault(document.source, set())
            if document.text in texts:
                continue
            texts.add(document.text)
            self._pending.setdefault(document.source, []).append(document.lines)
            num_pending = self._num_pending.get(document.source, 0) + len(document.lines)
            self._num_pending[document.source] = num_pending
            if num_pending >= _PENDING_HASHES:
                self._spill(document.source)

    def repeated(self) -> RepeatedLines:
        """Return the lines that the rule leaves out."""
        return RepeatedLines(
            {source: frozenset(self._repeated(source)) for source in self._texts}, self._rule.min_characters
        )

    def _repeated(self, source: Name) -> Iterator[bytes]:
        num_documents = len(self._texts[source])
        for hashes in self._partitions(source):
            lines, counts = np.unique(hashes, return_counts=True)
            often = (counts > self._rule.share * num_documents) & (counts >= self._rule.min_documents)
            yield from (line.tobytes() for line in lines[often])

    def _partitions(self, source: Name) -> Iterator[Hashes]:
        if not any(self._path(source, number).exists() for number in range(_PARTITIONS)):
            yield np.concatenate([np.zeros(0, np.uint64), *self._pending[source]])
            return
        self._spill(source)
        for number in range(_PARTITIONS):
            path = self._path(source, number)
            if path.exists():
                yield np.fromfile(path, np.uint64)

    def _spill(self, source: Name) -> None:
        hashes = np.sort(np.concatenate([np.zeros(0, np.uint64), *self._pending[source]]))
        self._pending[source], self._num_pending[source] = [], 0
        bounds = np.searchsorted(hashes >> np.uint64(56), np.arange(_PARTITIONS + 1, dtype=np.uint64))
        for number, (start, end) in enumerate(pairwise(bounds)):
            if end > start:
                with self._path(source, number).open("ab") as file:
                    file.write(hashes[start:end].tobytes())

    def _path(self, source: Name, number: int) -> Path:
        return self._folder / f"{source}.{number:03}"


def line_hashes(documents: Iterable[Document], rule: RepeatedLinesRule) -> Iterator[LineHashes]:
    """Hash the lines of documents: what a worker can do of the first pass. What is no prose has none."""
    for document in documents:
        is_prose = _is_prose(document)
        lines = map(str.strip, _lines(document)) if is_prose else ()
        hashes = np.frombuffer(b"".join({_hash(line) for line in lines if len(line) >= rule.min_characters}), np.uint64)
        yield LineHashes(document.source, int(document.text_sha256[:16], 16), is_prose, np.sort(hashes))


def drop_repeated_lines(documents: Sequence[Document], repeated: RepeatedLines) -> Outcome:
    """Leave repeated lines out of documents, and reject the documents that have no others."""
    kept: list[Document] = []
    rejected: list[Rejection] = []
    for document in documents:
        lines = repeated.by_source.get(document.source)
        changed = _without(document, lines, repeated.min_characters) if lines and _is_prose(document) else document
        if changed is document or changed.text.strip():
            kept.append(changed)
        else:
            rejected.append(reject(document, RULE, "every line of it repeats across the source"))
    return Outcome(kept, rejected)


def _without(document: Document, repeated: frozenset[bytes], min_characters: int) -> Document:
    def stays(line: str) -> bool:
        line = line.strip()
        return len(line) < min_characters or _hash(line) not in repeated

    segments = []
    for segment in document.segments:
        lines = segment.text.split("\n")
        left = [line for line in lines if stays(line)]
        changed = len(left) < len(lines)
        segments.append(Segment(segment.role, canonical("\n".join(left), keep_blanks=False)) if changed else segment)
    if all(new is old for new, old in zip(segments, document.segments, strict=True)):
        return document
    changed_document = replace(document, segments=tuple(segments))
    return replace(changed_document, text_sha256=sha256_text(changed_document.text))


def _is_prose(document: Document) -> bool:
    return document.kind == "text" and not blanks_matter(document.media_type)


def _lines(document: Document) -> Iterator[str]:
    for segment in document.segments:
        yield from segment.text.split("\n")


def _hash(line: str) -> bytes:
    return hashlib.blake2b(line.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).digest()
