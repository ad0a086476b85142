"""Whether the process that runs a run lives: it holds a lock on a file in FORGE_HOME/runs, and says there who it is.

The kernel gives the lock back however the process ends, so no number that another process has by now misleads.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from forge_assets.settings import load_settings
from forge_pipelines.manifest import Value

HOST_TAG = "forge/host"
_HUNG_SECONDS = 600.0


class Worker(Value):
    """The process that runs a run, and what is known of it.

    Attributes:
        pid: its number on its host.
        host: the machine's name.
        state: ``hung`` where it lives and has given no sign of it for ten minutes.
    """

    pid: int
    host: str
    state: Literal["alive", "hung", "gone"]


def here() -> str:
    """Name this machine and FORGE_HOME, as runs are tagged."""
    return f"{socket.gethostname()}:{load_settings().home}"


@contextmanager
def working(home: Path, run_id: str) -> Iterator[None]:
    """Be the worker of a run while the context lasts."""
    path, descriptor = _claim(home, run_id)
    try:
        yield
    finally:
        path.unlink()
        os.close(descriptor)


def work_to_the_end(home: Path, run_id: str) -> Callable[[], None]:
    """Be the worker of a run until this process ends, whose last act is the run's; return what gives a sign of life."""
    path, _ = _claim(home, run_id)
    return lambda: os.utime(path)


def worker_of(home: Path, run_id: str) -> Worker | None:
    """Return the worker of a run, or None where there never was one, or it ended in order."""
    path = home / "runs" / f"{run_id}.json"
    try:
        with path.open() as file:
            said = json.load(file)
            quiet_seconds = time.time() - os.fstat(file.fileno()).st_mtime
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return Worker(**said, state="hung" if quiet_seconds > _HUNG_SECONDS else "alive")
    return Worker(**said, state="gone")


def forget_finished(home: Path, unfinished: Collection[str]) -> None:
    """Remove what the workers of finished runs have left."""
    for path in (home / "runs").glob("*.json"):
        if path.stem not in unfinished:
            path.unlink(missing_ok=True)


def _claim(home: Path, run_id: str) -> tuple[Path, int]:
    folder = home / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run_id}.json"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.write(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
    return path, descriptor
