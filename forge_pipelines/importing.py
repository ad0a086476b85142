"""Imports of large libraries, which Python's garbage collector would look through again and again, and find nothing."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Import without collecting garbage; what is there at the end is never looked through again, at exit neither.

    It is for processes that have just started: a rank, which imports torch and DeepSpeed, takes 4 seconds with it and
    6.5 without. Within another it does nothing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.enable()
