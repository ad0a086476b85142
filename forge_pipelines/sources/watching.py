"""Whether what some sources hold has changed and has come to rest: quick looks, and full listings when they differ."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from forge_pipelines.errors import DataError
from forge_pipelines.manifest import Manifest, Value, digest
from forge_pipelines.progress import silent
from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.sources.folder import Folder


class Watch(Value):
    """What is remembered of some sources from one look to the next.

    Attributes:
        glance: what they looked like last, see `glance`.
        since: since when they have looked like that, in seconds since the epoch.
        listing: fingerprint of their contents when they were last found at rest; empty before.
        listed: the glance at which ``listing`` was made; empty before.
    """

    glance: str = ""
    since: float = 0.0
    listing: str = ""
    listed: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found: what to remember, whether new contents have come to rest, and a sentence that says it."""

    watch: Watch
    changed: bool
    sentence: str


class _WatchedFolder(Folder):
    def files(self) -> list[tuple[str, int, int, int]]:
        """Return path, size, and times of change of every file that the source would read; nothing is opened."""
        walk = self._walk()
        refused = [(item.path, -1, 0, 0) for item in walk.refused]
        return sorted([*map(self._stamp, walk.files), *refused])

    def _stamp(self, path: str) -> tuple[str, int, int, int]:
        shown = path.encode("utf-8", "backslashreplace").decode()
        try:
            status = (self._root / path).stat()
        except OSError:
            return shown, -1, 0, 0
        return shown, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def glance(sources: Sequence[SourceConfig]) -> str:
    """Return a fingerprint of the paths, sizes and times of the sources' files, which are not opened.

    Raises:
        ConfigError: a folder does not exist or cannot be read.
        DataError: a folder holds no file of its source; it may be a disk that is not mounted.
    """
    return digest([_files(source) for source in sources])


def _files(source: SourceConfig) -> list[tuple[str, int, int, int]]:
    folder = _WatchedFolder(source.folder, source.max_file_bytes)
    if not (files := folder.files()):
        patterns = ", ".join(source.folder.include)
        raise DataError(f"source {source.name}: no file in {folder.address} matches {patterns}; is it mounted?")
    return files


def listing(sources: Iterable[SourceConfig]) -> str:
    """Return a fingerprint of the contents of the sources' files, each of which is read.

    Raises:
        ConfigError: a folder does not exist or cannot be read.
    """
    folders = {source.name: Folder(source.folder, source.max_file_bytes) for source in sources}
    return _together({name: folder.list_items(silent).fingerprint for name, folder in folders.items()})


def listing_read(manifests: Iterable[Manifest]) -> str:
    """Return what `listing` was for sources when their `raw_documents` were made."""
    return _together({manifest.name: manifest.inputs["listing"] for manifest in manifests})


def look(sources: Sequence[SourceConfig], watch: Watch, settle_seconds: float, now: float | None = None) -> Look:
    """Look at some sources once more. Their contents are new once, when two looks so far apart found the same files.

    Args:
        sources: what is watched.
        watch: what the look before this one remembered; `Watch()` at the first.
        settle_seconds: for how long the files must have stayed as they are.
        now: the time, in seconds since the epoch.

    Raises:
        ConfigError: a folder does not exist or cannot be read; what was remembered stays true.
        DataError: a folder holds no file of its source; likewise.
    """
    now = time.time() if now is None else now
    seen = glance(sources)
    if seen == watch.listed:
        return Look(watch.model_copy(update={"glance": seen}), False, "no document has changed")
    if seen != watch.glance:
        return _wait(watch, seen, now, settle_seconds)
    rested = now - watch.since
    if rested < settle_seconds:
        return Look(watch, False, f"documents changed {rested:.0f} s ago; they are left {settle_seconds:g} s to settle")
    found = listing(sources)
    if (after := glance(sources)) != seen:
        return _wait(watch, after, now, settle_seconds)
    settled = watch.model_copy(update={"listing": found, "listed": seen})
    if found == watch.listing:
        return Look(settled, False, "files were touched; no document has changed since the sources were last read")
    return Look(settled, True, f"the documents have changed and have been still for {rested:.0f} s")


def _wait(watch: Watch, seen: str, now: float, settle_seconds: float) -> Look:
    changing = watch.model_copy(update={"glance": seen, "since": now})
    return Look(changing, False, f"documents are changing; they are taken when still for {settle_seconds:g} s")


def _together(listings: Mapping[str, str]) -> str:
    return digest(dict(listings))
