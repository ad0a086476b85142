"""The one line of all who wait for GPUs on this machine: a ticket each, worth nothing once its owner died."""

import fcntl
import os
import pwd
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from forge_pipelines.gpu.locks import ANYBODY_REMOVES, is_held_alone, open_shared, rewrite, shared_folder
from forge_pipelines.gpu.request import GpuRequest
from forge_pipelines.manifest import Value

_STAMP_BYTES = 8
_DIGITS = 20


class Holder(Value):
    """Who holds devices, or waits for them: a step of a run, and the process that asked for it."""

    run: str
    step: str
    user: str
    pid: int

    @classmethod
    def here(cls, run: str, step: str) -> Self:
        """Describe a step that this process asks for."""
        try:
            user = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            user = str(os.getuid())
        return cls(run=run, step=step, user=user, pid=os.getpid())

    def __str__(self) -> str:
        return f"run {self.run[:8]} ({self.step})"


class Waiting(Value):
    """What a ticket says: who waits, for what, since when."""

    request: GpuRequest
    holder: Holder
    since: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the line: the ticket's name, which orders it, and a descriptor whose lock says that it is alive."""

    name: str
    descriptor: int


class Line:
    """The line, as one waiter sees it.

    The lock's file holds a stamp that whoever leaves renews, so that waiting costs one short read. A ticket is removed
    by its owner, or by the one behind it when its owner died.
    """

    def __init__(self, folder: Path) -> None:
        self._tickets = folder / "tickets"
        shared_folder(self._tickets, ANYBODY_REMOVES)
        self._lock = open_shared(folder / "queue.lock")
        self._known: dict[str, Waiting] = {}
        self._seen = b""

    def close(self) -> None:
        """Close what is open."""
        os.close(self._lock)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep everybody else from changing the line, and from taking devices."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def enter(self, waiting: Waiting) -> Place:
        """Take the last place, and look who is ahead of it; the lock must be held."""
        last = max(self._names(), default="0")
        name = f"{max(time.monotonic_ns(), int(last) + 1):0{_DIGITS}}"
        descriptor = open_shared(self._tickets / name)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        rewrite(descriptor, waiting.model_dump_json())
        place = Place(name, descriptor)
        self.waiting(ahead_of=place)
        return place

    def leave(self, place: Place) -> None:
        """Give a place up."""
        self._remove(place.name)
        os.close(place.descriptor)

    def waiting(self, ahead_of: Place | None = None) -> Mapping[str, Waiting]:
        """Return the living tickets, first come first.

        The lock must be held, except by one who entered and asks who is left ahead: nobody comes in between.
        """
        seen = self._stamped()
        names = [name for name in self._names() if ahead_of is None or name < ahead_of.name]
        living: dict[str, Waiting] = {}
        for name in sorted(names, reverse=True):
            # Each looks after the one before it, so nobody need look at all of them again and again.
            if not ((living and name in self._known) or is_held_alone(self._tickets / name)):
                self._remove(name)
                continue
            with suppress(FileNotFoundError):  # it left just now
                living[name] = self._known.get(name) or self._read(name)
        self._known = dict(reversed(living.items()))
        self._seen = seen
        return self._known

    def has_changed(self) -> bool:
        """Say whether somebody has left since `waiting` looked."""
        before_me = next(reversed(self._known), None)
        return self._stamped() != self._seen or (before_me is not None and not is_held_alone(self._tickets / before_me))

    def _names(self) -> list[str]:
        return [name for name in os.listdir(self._tickets) if len(name) == _DIGITS]  # noqa: PTH208 - a path each is slow

    def _read(self, name: str) -> Waiting:
        return Waiting.model_validate_json((self._tickets / name).read_bytes())

    def _remove(self, name: str) -> None:
        (self._tickets / name).unlink(missing_ok=True)
        os.pwrite(self._lock, time.monotonic_ns().to_bytes(_STAMP_BYTES, "little"), 0)

    def _stamped(self) -> bytes:
        return os.pread(self._lock, _STAMP_BYTES, 0)
