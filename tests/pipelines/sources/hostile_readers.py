"""What the worst of libraries do to the process that calls them; a file's first word says what is done."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers.reading import Reading

_poisoned: list[str] = []


def read(content: bytes) -> Reading:
    deed, _, detail = content[:1000].decode().partition(" ")
    return Reading(DEEDS[deed](detail) if deed in DEEDS else content.decode(), "text/plain")


def sleep(seconds: str) -> str:
    time.sleep(float(seconds))
    return f"slept {seconds}"


def end_by(name: str) -> str:
    os.kill(os.getpid(), signal.Signals[name])
    return "still here"


def end_by_kill_once(marker: str) -> str:
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "read at the second try"


def allocate(num_bytes: str) -> str:
    return f"had {len(bytes(int(num_bytes)))}"


def raise_value_error(message: str) -> str:
    raise ValueError(message)


def recurse(detail: str) -> str:
    return recurse(detail) + "x"


def refuse(reason: str) -> str:
    raise ItemError("own_rule", reason, excerpt="its beginning")


def poison(detail: str) -> str:
    _poisoned.append(detail)
    return "poisoned"


def fragile(detail: str) -> str:
    if _poisoned:
        os.abort()
    return f"whole: {detail}"


DEEDS: dict[str, Callable[[str], str]] = {
    "sleep": sleep,
    "end_by": end_by,
    "end_by_kill_once": end_by_kill_once,
    "exit": lambda code: sys.exit(int(code)),
    "allocate": allocate,
    "raise": raise_value_error,
    "recurse": recurse,
    "refuse": refuse,
    "poison": poison,
    "fragile": fragile,
    "repeat": lambda times: "x" * int(times),
    "surrogate": lambda _: "\ud800",
}
