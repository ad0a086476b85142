"""Folders for unpublished work: empty when given, gone afterwards, swept when their process was killed."""

import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from forge_pipelines.errors import PlatformError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The error numbers of a full disk, and of a quota that is used up."""

FULL_DISK_BYTES = 16 << 20
"""A disk with less free space is what ended a process that did not say why."""

_GUARD = "guard"


@contextmanager
def staging_folder(root: Path) -> Iterator[Path]:
    """Give an empty folder below ``root``, locked for as long as it is used; sweep those whose lock nobody holds.

    Raises:
        PlatformError: ``root`` cannot be written.
    """
    with _locked_beside(root) as lock:
        folder = Path(lock.name).with_suffix("")
        try:
            folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            Path(lock.name).unlink(missing_ok=True)


@contextmanager
def _locked_beside(root: Path) -> Iterator[IO[str]]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        guard = (root / _GUARD).open("w")
    except OSError as error:
        if error.errno in FULL:
            raise
        raise PlatformError(f"{root} cannot be written ({error.strerror}); correct its place or permissions") from error
    with guard:
        # Nobody sweeps between the making of a lock file and its locking.
        fcntl.flock(guard, fcntl.LOCK_EX)
        _sweep(root)
        lock = (root / f"{uuid.uuid4().hex}.lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    with lock:
        yield lock


def _sweep(root: Path) -> None:
    for path in root.glob("*.lock"):
        try:
            with path.open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                path.unlink()
        except (BlockingIOError, FileNotFoundError):
            continue


@contextmanager
def full_disk_named(title: str, folder: Path) -> Iterator[None]:
    """Say in one sentence that the disk is full, of work that loses nothing by it.

    Raises:
        PlatformError: the disk that holds ``folder`` is full.
        OSError: any other fault of the disk, as it was.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        message = f"{title}: the disk that holds {folder} is full; nothing was lost"
        raise PlatformError(f"{message}, free some space and run the same command again") from error


def sync_folder(folder: Path) -> None:
    """Force a folder and every file below it to the disk."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)


def sync(path: Path) -> None:
    """Force one file, or the names in one folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def alone_in(folder: Path, on_wait: Callable[[], None]) -> Iterator[int]:
    """Work in a folder that one run at a time may work in, after the one that does now; then `on_wait` is called.

    It gives the lock's descriptor: a process that inherits it keeps others out for as long as it lives.
    """
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()
