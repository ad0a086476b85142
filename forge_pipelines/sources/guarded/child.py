"""One reading process as the asking side sees it: what it was given, and until when it must have answered."""

import math
import signal
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from forge_pipelines import processes
from forge_pipelines.errors import PlatformError
from forge_pipelines.sources.config import ReadingLimits
from forge_pipelines.sources.guarded.frames import ANSWER, Answer, receive, send

_START_SECONDS = 60.0
_QUEUED_FILES = 8
_QUEUED_BYTES = 64 << 10
"""A busy process is given more only while the socket holds all of it: giving must never wait."""


@dataclass(slots=True, eq=False)
class Task:
    """One file to be read: its bytes, which are let go once its answer is there; ``tried`` after a first failure."""

    content: bytes
    answer: Answer | None = None
    tried: bool = False


class Child:
    """A process that reads files, one after the other.

    Args:
        readers: module whose `read` turns bytes into a `Reading`.
        log: file that says why a process does not start.
    """

    def __init__(self, limits: ReadingLimits, readers: str, log: Path) -> None:
        self.channel, theirs = socket.socketpair()
        self.channel.settimeout(limits.seconds)
        self.tasks: deque[Task] = deque()
        self._seconds = limits.seconds
        self._log = log
        self._ready = False
        self._since = time.monotonic()
        with theirs:
            descriptor = theirs.fileno()
            module = "forge_pipelines.sources.guarded.worker"
            self._process = processes.start(
                [sys.executable, "-m", module, str(descriptor), limits.model_dump_json(), readers],
                environment={"OMP_NUM_THREADS": "1"},
                log=log,
                pass_descriptors=[descriptor],
            )

    @property
    def deadline(self) -> float:
        """When it must have answered its first task, on the monotonic clock."""
        if not self._ready:
            return self._since + _START_SECONDS
        return self._since + self._seconds if self.tasks else math.inf

    def has_room(self, task: Task) -> bool:
        """Whether the task can be given without waiting."""
        if self._ready and not self.tasks:
            return True
        queued_bytes = sum(len(waiting.content) for waiting in self.tasks)
        return len(self.tasks) < _QUEUED_FILES and queued_bytes + len(task.content) <= _QUEUED_BYTES

    def give(self, task: Task) -> None:
        """Send a task's file."""
        if not self.tasks and self._ready:
            self._since = time.monotonic()
        self.tasks.append(task)
        # A process that is gone, or takes nothing, is found out when its answer is awaited.
        with suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            send(self.channel, task.content)

    def hear(self) -> Answer | None:
        """Return the answer to the first task; None when the process ended instead."""
        payload = receive(self.channel)
        self._since = time.monotonic()
        return None if payload is None else ANSWER.validate_json(payload)

    @property
    def ready(self) -> bool:
        """Whether it has begun to listen."""
        return self._ready

    def await_ready(self) -> bool:
        """Wait until it listens; return whether it does."""
        self.channel.settimeout(_START_SECONDS)
        self._ready = receive(self.channel) is not None
        self.channel.settimeout(self._seconds)
        self._since = time.monotonic()
        return self._ready

    def failed_start(self) -> PlatformError:
        """Return the error that says why it does not listen."""
        lines = self._log.read_text(errors="replace").strip().splitlines() or ["it says nothing"]
        return PlatformError(f"the process that reads files does not start: {lines[-1]}")

    def end(self, patience_seconds: float = 0.0) -> str:
        """End the process; return what ended it, in words."""
        self.channel.close()
        processes.await_end(self._process, patience_seconds)
        code = self._process.returncode
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
