"""What a step's child processes write into their logs, shown with the step's own output while it is written."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SECONDS_BETWEEN_LOOKS = 1.0


@contextmanager
def followed(folder: Path) -> Iterator[None]:
    """Copy what is appended to a folder's files to standard error, which Dagster keeps, while the context lasts."""
    ended = threading.Event()
    follower = threading.Thread(target=_follow, args=(folder, ended), name="output", daemon=True)
    follower.start()
    try:
        yield
    finally:
        ended.set()
        follower.join()


def _follow(folder: Path, ended: threading.Event) -> None:
    shown: dict[Path, int] = {}
    last = False
    while not last:
        last = ended.wait(_SECONDS_BETWEEN_LOOKS)  # what was written before the end is shown, too
        for path in sorted(folder.glob("*.log")):
            with path.open("rb") as file:
                file.seek(shown.get(path, 0))
                content = file.read()
            if content:
                shown[path] = shown.get(path, 0) + len(content)
                os.write(sys.stderr.fileno(), content)
