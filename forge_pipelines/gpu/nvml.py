"""NVML, the NVIDIA driver's library, while it is asked something."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def nvml() -> Iterator[Any]:
    """Give the module pynvml, ready to be asked, or None where there is no driver.

    It is let go at the end: a process that forks must not hand it on.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded, pynvml.NVMLError_NoPermission):
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()
