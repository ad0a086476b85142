"""One process of an engine as the asking side sees it: it says that it is ready, then answers each batch."""

import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from forge_pipelines import processes
from forge_pipelines.channel import receive, send
from forge_pipelines.engine.work import Work
from forge_pipelines.errors import ForgeError, PlatformError

_END_SECONDS = 5.0


class Child:
    """A process that prepares some work, and does it on one batch after the other.

    Args:
        work: what it does.
        log: file that says why a process has ended.
    """

    def __init__(self, work: Work, log: Path) -> None:
        self.channel, theirs = socket.socketpair()
        self._log = log
        with theirs:
            self._process = processes.start(
                [sys.executable, "-m", "forge_pipelines.engine.worker", str(theirs.fileno()), work.model_dump_json()],
                environment={"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
                log=log,
                pass_descriptors=[theirs.fileno()],
            )

    def give(self, batch: Any) -> None:
        """Send a batch to a process that is ready and has no other.

        Raises:
            PlatformError: it has ended.
        """
        try:
            send(self.channel, pickle.dumps(batch, pickle.HIGHEST_PROTOCOL))
        except (BrokenPipeError, ConnectionResetError):
            raise self._ended() from None

    def hear(self) -> Any:
        """Wait for the answer to a batch, or, before the first, for None: it is ready.

        Raises:
            ForgeError: the work itself said so; or, as a `PlatformError`, the process has ended.
        """
        answer = receive(self.channel)
        if answer is None:
            raise self._ended()
        result = pickle.loads(answer)
        if isinstance(result, ForgeError):
            raise result
        return result

    def close(self) -> None:
        """End the process."""
        self.channel.close()
        processes.end(self._process, grace_seconds=0.0)

    def _ended(self) -> PlatformError:
        processes.await_end(self._process, _END_SECONDS)
        code = self._process.returncode
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        lines = self._log.read_text(errors="replace").strip().splitlines()
        said = f": {lines[-1]}" if lines else ""
        return PlatformError(f"a process that worked on documents ended {how}{said}; run it again")


@contextmanager
def starter(work: Work) -> Iterator[Callable[[], Child]]:
    """Give what starts a process for some work; all of them end with the context."""
    # Without a name of its own the log cannot outlive a run that is killed.
    with TemporaryFile() as log, ExitStack() as children:
        path = Path(f"/proc/self/fd/{log.fileno()}")
        yield lambda: children.enter_context(closing(Child(work, path)))
