"""Work that tests have done by an engine: the words of a batch say what is done."""

import os
import signal
import sys
import time
from collections.abc import Callable

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
        return argument + batch[:20]

    return do
