"""What files became, remembered by the hash of their bytes: a file is read once, whatever becomes of a run.

Rows stand in `chunks`.
"""

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from forge_pipelines.chunks import chunks_in, read_chunk, read_columns, write_chunk
from forge_pipelines.columns import SEGMENTS, table_of
from forge_pipelines.manifest import Segment
from forge_pipelines.sources.place import Refusal
from forge_pipelines.sources.readers.reading import Part, Reading, Record

PASSING = frozenset({"too_slow", "crashed", "too_much_memory", "changed", "ocr_failed"})
"""Rules that depend on more than the file: what they refuse is refused in this run, and tried again in the next."""

_CHUNK_CHARACTERS = 16 << 20
_CHUNK_ROWS = 2048
_CHUNK_SECONDS = 20.0
"""A chunk ends at any of these: a run that is killed reads again what its last chunk would have held."""

_OPEN_BYTES = 128 << 20
_MANY_CHUNKS = 16
_SMALL_BYTES = 256 << 10
_SCHEMA = pa.schema(
    [
        ("file", pa.binary(32)),
        ("number", pa.int32()),
        ("ends", pa.bool_()),
        ("passing", pa.bool_()),
        *((name, pa.string()) for name in ("path", "parent", "raw_sha256", "language", "media_type", "kind")),
        ("segments", SEGMENTS),
        *((name, pa.string()) for name in ("rule", "reason", "excerpt")),
    ]
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file's only part stands: a row of a chunk."""

    rows: pa.Table
    row: int

    def follows(self, other: "Place") -> bool:
        """Whether it is the next row of the same chunk."""
        return self.rows is other.rows and self.row == other.row + 1


@dataclass(frozen=True, slots=True)
class _Chunk:
    rows: pa.Table
    spans: dict[bytes, tuple[int, int]]
    is_text: list[bool]


class Readings:
    """The parts of files, in a folder that one process at a time works in."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._chunks = chunks_in(folder)
        self._first_chunk: dict[bytes, int] = {}
        self._open: OrderedDict[int, _Chunk] = OrderedDict()
        self._rows: list[dict[str, Any]] = []
        self._num_characters = 0
        self._num_parts = 0
        self._begun_in = 0
        self._written_at = time.monotonic()
        self._index()

    @property
    def num_files(self) -> int:
        """How many files' parts are known."""
        return len(self._first_chunk)

    def knows(self, sha256: str) -> bool:
        """Tell whether a file's parts are known."""
        return bytes.fromhex(sha256) in self._first_chunk

    def add(self, sha256: str, part: Part | None) -> None:
        """Take a file's next part, or (None) note its end; the parts of a file come one after the other."""
        file = bytes.fromhex(sha256)
        if part is None:
            self._rows[-1]["ends"] = True
            self._first_chunk[file] = self._begun_in
            self._num_parts = 0
            return
        if self._is_due():
            self.flush()
        if self._num_parts == 0:
            self._begun_in = len(self._chunks)
        self._rows.append({"file": file, "number": self._num_parts, "ends": False, **_row(part)})
        self._num_parts += 1
        self._num_characters += len(part.outcome.text) if isinstance(part.outcome, Reading | Record) else 0

    def _is_due(self) -> bool:
        full = len(self._rows) >= _CHUNK_ROWS or self._num_characters >= _CHUNK_CHARACTERS
        return full or time.monotonic() - self._written_at > _CHUNK_SECONDS

    def flush(self) -> None:
        """Bring to the disk what was taken so far.

        Raises:
            OSError: the disk is full; what was written before stays.
        """
        if not self._rows:
            return
        number = _number_of(self._chunks[-1]) + 1 if self._chunks else 0
        path = write_chunk(self._folder, f"{number:08}", table_of(self._rows, _SCHEMA))
        self._chunks.append(path)
        self._rows, self._num_characters, self._written_at = [], 0, time.monotonic()

    def parts(self, sha256: str) -> Iterator[Part]:
        """Yield a known file's parts, in memory a chunk at a time; what was taken last must be flushed.

        Raises:
            ForgottenError: a chunk is damaged.
        """
        file = bytes.fromhex(sha256)
        number, ended = self._first_chunk[file], False
        while not ended:
            chunk = self._load(number)
            start, stop = chunk.spans[file]
            for row in chunk.rows.slice(start, stop - start).to_pylist():
                yield _part(row)
                ended = row["ends"]
            number += 1

    def place_of_text(self, sha256: str) -> Place | None:
        """Return where the text of a known file stands; None if the file is more than one text, or none.

        Raises:
            ForgottenError: a chunk is damaged.
        """
        file = bytes.fromhex(sha256)
        chunk = self._load(self._first_chunk[file])
        row, end = chunk.spans[file]
        return Place(chunk.rows, row) if end == row + 1 and chunk.is_text[row] else None

    def tidy(self, live: Iterable[str], num_live: int) -> None:
        """Forget all but the files that are given, in their order, where much of what is kept is old or scattered."""
        if not self._is_scattered() and len(self._first_chunk) <= 2 * num_live:
            return
        old = [*self._chunks]
        self.flush()
        kept: set[str] = set()
        for sha256 in live:
            if sha256 not in kept:
                kept.add(sha256)
                for part in self.parts(sha256):
                    self.add(sha256, part)
                self.add(sha256, None)
        self.flush()
        # A process that is killed here leaves some files twice; the later chunk holds.
        for path in old:
            path.unlink()

    def _is_scattered(self) -> bool:
        num_chunks = len(self._chunks)
        if num_chunks <= _MANY_CHUNKS or len(self._first_chunk) / num_chunks > _CHUNK_ROWS / 8:
            return False
        return sum(path.stat().st_size for path in self._chunks) / num_chunks < _SMALL_BYTES

    def _index(self) -> None:
        begun: tuple[bytes, int, int] | None = None  # a file that has not ended, its first chunk, its next part
        passing = False
        for chunk, path in enumerate(self._chunks):
            for file, number, ends, passes in _outline(path):
                if number == 0:
                    begun, passing = (file, chunk, 0), False
                if begun is None or (begun[0], begun[2]) != (file, number):
                    begun = None  # the run that read it was killed
                    continue
                passing |= passes
                if ends and not passing:
                    self._first_chunk[file] = begun[1]
                begun = None if ends else (file, begun[1], number + 1)

    def _load(self, number: int) -> _Chunk:
        if number not in self._open:
            self._open[number] = self._checked(self._chunks[number])
            # What runs of old have changed stands in many small chunks, and is asked for in turn with the rest.
            while len(self._open) > 1 and sum(chunk.rows.nbytes for chunk in self._open.values()) > _OPEN_BYTES:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]

    def _checked(self, path: Path) -> _Chunk:
        rows = read_chunk(path)
        spans: dict[bytes, tuple[int, int]] = {}
        for place, sha256 in enumerate(rows.column("file").to_pylist()):
            spans[sha256] = (spans[sha256][0] if sha256 in spans else place, place + 1)
        is_other = pc.or_(pc.is_valid(rows.column("kind")), pc.is_null(rows.column("segments")))
        return _Chunk(rows, spans, pc.and_not(rows.column("ends"), is_other).to_pylist())


def _outline(path: Path) -> Iterator[tuple[bytes, int, bool, bool]]:
    """Yield file, number, whether it is the last, and whether it may be another next time, of each row of a chunk."""
    columns = read_columns(path, pa.schema([_SCHEMA.field(name) for name in ("file", "number", "ends", "passing")]))
    yield from zip(*columns.to_pydict().values(), strict=True) if columns is not None else ()


def _number_of(path: Path) -> int:
    return int(path.stem.partition("-")[0])


def _row(part: Part) -> dict[str, Any]:
    row = {name: getattr(part, name) for name in ("path", "parent", "raw_sha256", "language")}
    match part.outcome:
        case Reading(text, media_type):
            return {**row, "passing": False, "media_type": media_type, "segments": [{"role": "text", "text": text}]}
        case Record():
            return {**row, "passing": False, **asdict(part.outcome)}
        case Refusal():
            return {**row, "passing": part.outcome.rule in PASSING, **asdict(part.outcome)}
        case None:
            return {**row, "passing": False}


def _part(row: dict[str, Any]) -> Part:
    outcome: Reading | Record | Refusal | None = None
    if row["rule"] is not None:
        outcome = Refusal(row["rule"], row["reason"], row["excerpt"])
    elif row["kind"] is not None:
        outcome = Record(row["kind"], tuple(Segment(**each) for each in row["segments"]), row["media_type"])
    elif row["segments"] is not None:
        outcome = Reading(row["segments"][0]["text"], row["media_type"])
    return Part(row["path"], row["parent"], row["raw_sha256"], outcome, row["language"])
