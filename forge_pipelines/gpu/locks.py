"""Files that all users of a machine lock: made whatever the umask, and opened through no link."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from forge_pipelines.errors import PlatformError

ANYBODY_ADDS = 0o1777
ANYBODY_REMOVES = 0o777
_ANYBODY_LOCKS = 0o1666  # sticky, so that the cleaning of /tmp leaves it (XDG Base Directory Specification)


@contextmanager
def usable(folder: Path) -> Iterator[None]:
    """Turn what the file system refuses below ``folder`` into a sentence.

    Raises:
        PlatformError: it refused something.
    """
    try:
        yield
    except OSError as error:
        message = f"the folder of GPU leases {folder} cannot be used ({error.strerror}: {error.filename or folder})"
        raise PlatformError(f"{message}; name one in FORGE_GPU_LEASES that all users of GPUs here may write") from error


def shared_folder(folder: Path, mode: int) -> None:
    """Make a folder with this mode where there is none.

    Raises:
        OSError: it cannot be made, or is no folder of its own.
    """
    with suppress(FileExistsError):
        folder.mkdir(parents=True)
        folder.chmod(mode)
    os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW))


def open_shared(path: Path) -> int:
    """Open a file that is made where there is none; the descriptor is for locking, reading and writing.

    Raises:
        OSError: it cannot be opened.
    """
    # O_CREAT alone would be refused on another user's file (sysctl fs.protected_regular).
    with suppress(FileNotFoundError):
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    os.fchmod(descriptor, _ANYBODY_LOCKS)
    return descriptor


def take(path: Path) -> int | None:
    """Lock a file alone, and return its descriptor; None where anybody holds it."""
    descriptor = open_shared(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_held_alone(path: Path) -> bool:
    """Say whether somebody holds a file alone; nobody holds one that is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def rewrite(descriptor: int, text: str) -> None:
    """Replace what an open file holds."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)
