"""One reading process as the asking side sees it: what it was given, and until when it must have said a word."""

import math
import signal
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from forge_pipelines import processes
from forge_pipelines.channel import receive
from forge_pipelines.errors import PlatformError
from forge_pipelines.sources.config import ReadingLimits
from forge_pipelines.sources.guarded.frames import decoded, send_order
from forge_pipelines.sources.guarded.task import Task
from forge_pipelines.sources.readers.reading import Begun, Part, ReadingOptions

_START_SECONDS = 60.0
_QUEUED_FILES = 8
_QUEUED_BYTES = 64 << 10
"""A busy process is given more only while the socket holds all of it: giving must never wait."""


class GoneError(Exception):
    """The process ended where its word was awaited."""


class Child:
    """A process that reads files, one after the other.

    Args:
        limits: what one file may cost.
        options: how files are read.
        readers: module whose `prepare` loads what it needs, and whose `read` gives word of a file's parts.
        log: file that says why a process does not start.
    """

    def __init__(self, limits: ReadingLimits, options: ReadingOptions, readers: str, log: Path) -> None:
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
            arguments = [str(descriptor), limits.model_dump_json(), options.model_dump_json(), readers]
            self._process = processes.start(
                [sys.executable, "-m", module, *arguments],
                # Arrow's own allocator reserves a GiB at once, half of what a process may have.
                environment={"OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"},
                log=log,
                pass_descriptors=[descriptor],
            )

    @property
    def deadline(self) -> float:
        """When it must have said its next word, on the monotonic clock."""
        if not self._ready:
            return self._since + _START_SECONDS
        return self._since + self._seconds if self.tasks else math.inf

    def has_room(self, task: Task) -> bool:
        """Whether the task can be given without waiting."""
        if not self.tasks:
            return True
        queued_bytes = sum(waiting.num_bytes for waiting in self.tasks)
        return len(self.tasks) < _QUEUED_FILES and queued_bytes + task.num_bytes <= _QUEUED_BYTES

    def give(self, task: Task) -> None:
        """Send a task's file, at once or when the process is ready."""
        if not self.tasks and self._ready:
            self._since = time.monotonic()
        self.tasks.append(task)
        if self._ready:
            self._send(task)

    def _send(self, task: Task) -> None:
        # A process that is gone, or takes nothing, is found out when its word is awaited.
        with suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            send_order(self.channel, task.sha256, task.content, task.resume)

    def hear(self) -> Part | Begun | None:
        """Return the next word of the first task; None at its end.

        Raises:
            GoneError: the process ended instead.
        """
        frame = receive(self.channel)
        self._since = time.monotonic()
        if frame is None:
            raise GoneError
        return decoded(frame)

    @property
    def ready(self) -> bool:
        """Whether it has begun to listen."""
        return self._ready

    def await_ready(self) -> bool:
        """Wait until it listens, and send what waits for it; return whether it does."""
        self.channel.settimeout(_START_SECONDS)
        self._ready = receive(self.channel) is not None
        self.channel.settimeout(self._seconds)
        self._since = time.monotonic()
        if self._ready:
            for task in self.tasks:
                self._send(task)
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
