"""What stands in the local scratch folder and is nobody's any more: unfinished work, copies of remote files."""

import fcntl
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from forge_pipelines.store import Store


@dataclass(frozen=True, slots=True)
class Scrap:
    """A folder that can be made again from the store, or by the stage that began it."""

    what: str
    name: str
    folder: Path
    num_bytes: int


def unfinished_work(store: Store, before: datetime) -> Iterator[Scrap]:
    """Yield workspaces whose last change was earlier, and whose lock nobody holds."""
    for folder in sorted(store.work.glob("*/*/*/")):
        with _unlocked(folder) as free:
            if free and _touched_at(folder) < before:
                yield _scrap("unfinished work", store.work, folder)


def stale_copies(store: Store, published: Collection[str], before: datetime) -> Iterator[Scrap]:
    """Yield older copies of remote files that are of none of the ``published`` fingerprints."""
    for folder in sorted(store.copies.glob("*/*/*/*/")):
        if folder.name not in published and _touched_at(folder) < before:
            yield _scrap("local copies", store.copies, folder)


def discard(scrap: Scrap) -> bool:
    """Remove a folder, unless somebody has locked it by now; return whether it went."""
    with _unlocked(scrap.folder) as free:
        if free:
            shutil.rmtree(scrap.folder, ignore_errors=True)  # another may be removing it
    return free


@contextmanager
def _unlocked(folder: Path) -> Iterator[bool]:
    """Hold the lock beside a workspace while the context lasts, where there is one and nobody has it.

    The lock file stays: it must be the same file for all who wait for it.
    """
    path = folder.with_suffix(".lock")
    if not path.exists():
        yield True
        return
    with path.open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _scrap(what: str, root: Path, folder: Path) -> Scrap:
    num_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Scrap(what, folder.relative_to(root).parts[0], folder, num_bytes)


def _touched_at(folder: Path) -> datetime:
    return datetime.fromtimestamp(max(path.stat().st_mtime for path in [folder, *folder.rglob("*")]), UTC)
