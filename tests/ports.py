"""Ports for what a test starts: nobody has them, and the tests that run beside it are given others."""

import os
import socket
from itertools import count

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_NUM_PORTS = 1000
# Below 32768 the kernel gives a port to nobody who does not ask for it. Another run of tests begins elsewhere.
_coming = (20_000 + _WORKER % 12 * _NUM_PORTS + number % _NUM_PORTS for number in count(os.getpid()))


def free_port() -> int:
    """Return a port of 127.0.0.1, another at each call."""
    return next(filter(_is_free, _coming))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
