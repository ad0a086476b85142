"""One pass over a place: what it holds is told by hash, and what was never read is read, each file once."""

import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import IO

from forge_pipelines.progress import OnProgress, Pace, Progress
from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.sources.guarded.crew import File, read_guarded
from forge_pipelines.sources.identity import Found
from forge_pipelines.sources.place import Item, Place, Refusal
from forge_pipelines.sources.readers.reading import Content, Part
from forge_pipelines.sources.readings import Readings
from forge_pipelines.sources.stamps import Seen, Stamps

_LISTED_ITEMS = 512
_FETCHED_ITEMS = 32
_FETCHED_BYTES = 16 << 20
_SECONDS_BETWEEN_REPORTS = 0.2


class Fingerprint:
    """SHA-256 over every item's path and content (or the reason why it has none), wherever the place is."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, path: str, seen: Seen | None, refusal: Refusal | None) -> None:
        """Take the next item, with what its content is or with its refusal."""
        content = refusal.reason if refusal else seen.sha256 if seen else ""
        self._hash.update(json.dumps([path, content]).encode() + b"\n")

    def hexdigest(self) -> str:
        """Return it, as 64 hexadecimal digits."""
        return self._hash.hexdigest()


@dataclass(frozen=True, slots=True)
class Told:
    """An item of a place: its content, where that was looked at, and what it is; or the refusal that it has instead."""

    item: Item
    content: Content | None
    seen: Seen | None
    refusal: Refusal | None = None


def told_apart(place: Place, stamps: Stamps, is_enough: Callable[[str], bool]) -> Iterator[Told]:
    """Yield every item of a place with what it holds.

    Args:
        place: what is gone over.
        stamps: what was seen before. An item that has the stamp of then is not looked at again,
        is_enough: if knowing its SHA-256 is enough.

    Raises:
        ConfigError, DataError, PlatformError: see `Place`.
    """
    for batch in _batches(place, stamps, is_enough):
        fetched = place.fetch([item for item, seen in batch if seen is None and _is_fetched(item)])
        for item, seen in batch:
            if seen is not None:
                yield Told(item, None, seen)
                continue
            content = next(fetched) if _is_fetched(item) else item.refusal or item.content
            if isinstance(content, Refusal):
                yield Told(item, None, None, content)
            else:
                assert content is not None, "an item that is not fetched has a refusal or its content"
                looked_at = _look_at(content)
                stamps.remember(item, looked_at)
                yield Told(item, content, looked_at)


def _look_at(content: Content) -> Seen:
    if isinstance(content, bytes):
        return Seen(hashlib.sha256(content).hexdigest(), len(content))
    with content.open("rb") as file:
        return Seen(hashlib.file_digest(file, "sha256").hexdigest(), file.tell())


def _is_fetched(item: Item) -> bool:
    return item.refusal is None and item.content is None


def _batches(
    place: Place, stamps: Stamps, is_enough: Callable[[str], bool]
) -> Iterator[Sequence[tuple[Item, Seen | None]]]:
    batch: list[tuple[Item, Seen | None]] = []
    num_fetched = num_bytes = 0
    for item in place.items():
        seen = stamps.known(item)
        if seen is None or not is_enough(seen.sha256):
            seen = None
            num_fetched += 1
            num_bytes += item.num_bytes or len(item.content or b"")
        batch.append((item, seen))
        if num_fetched == _FETCHED_ITEMS or num_bytes >= _FETCHED_BYTES or len(batch) == _LISTED_ITEMS:
            yield batch
            batch, num_fetched, num_bytes = [], 0, 0
    yield batch


@dataclass(slots=True)
class Survey:
    """A pass over a source's place.

    Attributes:
        moved: refusals of files that changed while an earlier pass read them, by path.
        found: file that everything is written to, see `read_found`.
        num_items: how many there are.
        fingerprint: of all of them.
        now_moved: refusals of files that changed while this pass read them.
    """

    config: SourceConfig
    place: Place
    stamps: Stamps
    readings: Readings
    found: Path
    moved: Mapping[str, Refusal]
    on_progress: OnProgress
    num_items: int = 0
    fingerprint: Fingerprint = field(default_factory=Fingerprint)
    now_moved: dict[str, Refusal] = field(default_factory=dict)
    _expected: int | None = None
    _reading: dict[str, tuple[str, int]] = field(default_factory=dict)
    _num_read: int = 0
    _bytes_read: int = 0
    _pace: Pace = field(default_factory=lambda: Pace(0, 0))
    _reported: float = 0.0

    def make(self) -> None:
        """Go over the place, and read what is not known yet.

        Raises:
            ConfigError, DataError, PlatformError: see `Place`.
        """
        self._expected = self.place.expect()
        with self.found.open("w") as found, closing(self._read(self._unknown(found))) as read:
            for sha256, part in read:
                self.readings.add(sha256, part)
                if part is None:
                    self._note_end(sha256)
                elif isinstance(part.outcome, Refusal) and part.outcome.rule == "changed" and not part.path:
                    self.now_moved[self._reading[sha256][0]] = part.outcome
        self.readings.flush()
        self.stamps.save()
        self._expected = self.num_items
        self._report(last=True)

    def _read(self, files: Iterator[File]) -> Generator[tuple[str, Part | None], None, None]:
        few = self.readings.num_files * 2 > (self._expected or 0) > 0
        return read_guarded(files, self.config.reading, self.config.reading_options, few=few)

    def _unknown(self, found: IO[str]) -> Iterator[File]:
        """Note every item, and yield those contents of which no reading is known."""
        for told in told_apart(self.place, self.stamps, self.readings.knows):
            refusal = self.moved.get(told.item.path, told.refusal)
            self._note(told, refusal, found)
            if refusal is None and told.content is not None and told.seen is not None:
                sha256 = told.seen.sha256
                if sha256 not in self._reading and not self.readings.knows(sha256):
                    self._reading[sha256] = (told.item.path, told.seen.num_bytes)
                    yield sha256, told.content
            self._report()

    def _note(self, told: Told, refusal: Refusal | None, found: IO[str]) -> None:
        item, seen = told.item, told.seen or Seen("", 0)
        self.num_items += 1
        self.fingerprint.add(item.path, seen, refusal)
        said = None if refusal is None else astuple(refusal)
        found.write(json.dumps([item.path, seen.sha256, item.modified_at, seen.num_bytes, said]) + "\n")

    def _note_end(self, sha256: str) -> None:
        _, num_bytes = self._reading.pop(sha256)
        self._num_read += 1
        self._bytes_read += num_bytes
        self._report()

    def _report(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if now - self._reported < _SECONDS_BETWEEN_REPORTS and not last:
            return
        self._reported = now
        done = self.num_items - len(self._reading)
        rates = dict(zip(("files/s", "MB/s"), self._pace.per_second(done, self._bytes_read / 1e6), strict=True))
        self.on_progress(
            Progress(f"{self.config.name}: reading", done, self._expected, "files", rates if self._num_read else {})
        )


def read_found(file: Path) -> Iterator[Found]:
    """Yield what a survey found, in the place's order."""
    with file.open() as lines:
        for line in lines:
            path, sha256, modified_at, num_bytes, refusal = json.loads(line)
            yield Found(path, sha256, modified_at, num_bytes, refusal and Refusal(*refusal))
