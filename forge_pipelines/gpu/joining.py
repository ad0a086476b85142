"""How a process takes part in the lease of its step: a rank's first act, so only the standard library is imported."""

import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path

from forge_pipelines.errors import PlatformError

LEASE_VARIABLE = "FORGE_GPU_LEASE"
"""The environment variable that names a step's lease to all its processes."""

_MOST_BYTES = 1 << 16


def name_lease(token: str, files: Iterable[Path]) -> str:
    """Return what `LEASE_VARIABLE` holds: a lease's own token and the lock files of its devices."""
    return json.dumps([token, *map(str, files)])


def join_lease(value: str | None) -> None:
    """Hold this step's devices until this process ends, even where it inherited no descriptor.

    Args:
        value: of `LEASE_VARIABLE`; without one there is no lease, and nothing to join.

    Raises:
        PlatformError: the step's lease has ended, so the devices may be somebody else's by now.
    """
    if not value:
        return
    token, *files = json.loads(value)
    for file in files:
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)  # never closed: the end of the process does it
        except OSError as error:
            raise PlatformError(f"the lock {file} of this step's GPUs cannot be opened ({error.strerror})") from error
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if json.loads(os.pread(descriptor, _MOST_BYTES, 0))["lease"] != token:
            os.close(descriptor)
            raise PlatformError(f"the lease of this step's GPUs has ended, and {Path(file).stem} was given to another")
