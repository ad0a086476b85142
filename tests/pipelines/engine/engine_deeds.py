"""Work that tests have done by an engine: the words of a batch say what is done."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from forge_pipelines.errors import DataError


def prepare_nothing(argument: str) -> Callable[[str], str]:
    """Fail."""
    raise DataError(f"cannot be prepared: {argument}")


def prepare(argument: str) -> Callable[[str], str]:
    """Return what answers a batch with the argument before it, or does what it says."""

    def do(batch: str) -> str:
        deed, _, detail = batch.partition(" ")
        if deed == "sleep":
            time.sleep(float(detail))
        elif deed == "end_by":
            os.kill(os.getpid(), signal.Signals[detail])
        elif deed == "exit":
            sys.stderr.write("what it said last\n")
            sys.stderr.flush()
            os._exit(int(detail))
        elif deed == "raise":
            raise DataError(detail)
        elif deed == "who":
            return str(os.getpid())
        elif deed == "meet":
            return _met(*detail.split(" ", 1))
        return argument + batch[:20]

    return do


def _met(number: str, folder: str) -> str:
    """Wait until so many processes are in a folder at once, and return which this one is."""
    Path(folder, str(os.getpid())).touch()
    deadline = time.monotonic() + 60
    while len([*Path(folder).iterdir()]) < int(number):
        if time.monotonic() > deadline:
            raise DataError("too few processes work beside this one")
        time.sleep(0.05)
    return str(os.getpid())
