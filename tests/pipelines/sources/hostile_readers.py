"""What the worst of libraries do to the process that calls them; a file's first word says what is done."""

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers import unfolding
from forge_pipelines.sources.readers.reading import Content, Contents, Entry, Member, Reading, ReadingOptions

_poisoned: list[str] = []


def give(content: bytes) -> Reading | Contents:
    """Do what a file's first word says; a file that begins with `holds` holds a file in each further line."""
    first, *lines = content.split(b"\n")
    if first == b"holds":
        members = (Member(f"!/{number}", partial(deeper, line)) for number, line in enumerate(lines, 1))
        return Contents(Reading("holder", "text/plain"), members)
    deed, _, detail = content[:1000].decode().partition(" ")
    return Reading(DEEDS[deed](detail) if deed in DEEDS else content.decode(), "text/plain")


def deeper(line: bytes) -> bytes:
    return line.replace(b"\\n", b"\n")


def give_records(content: Content, _: ReadingOptions) -> Contents:
    lines = (content.read_bytes() if isinstance(content, Path) else content).decode().split("\n")
    return Contents(None, (Entry(f"#{number}", record(line)) for number, line in enumerate(lines, 1)))


def record(line: str) -> Reading:
    deed, _, detail = line.partition(" ")
    return Reading(DEEDS[deed](detail) if deed in DEEDS else line, "text/plain")


# This module is imported where hostile files are read, and nowhere else.
unfolding.read_format = give
unfolding.read_records = give_records
read = unfolding.read


def prepare() -> None:
    """These files need nothing."""


def sleep(seconds: str) -> str:
    time.sleep(float(seconds))
    return f"slept {seconds}"


def wait_for(path: str) -> str:
    deadline = time.monotonic() + 50
    while not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return f"{Path(path).name} is there: {Path(path).exists()}"


def touch(path: str) -> str:
    Path(path).touch()
    return f"touched {Path(path).name}"


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
    "wait_for": wait_for,
    "touch": touch,
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
