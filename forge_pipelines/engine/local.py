"""An engine of this machine: a process for each core that may be used, or this process where there is one core."""

import os
import pickle
import select
import signal
import socket
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from forge_pipelines import processes
from forge_pipelines.channel import receive, send
from forge_pipelines.engine.work import Work
from forge_pipelines.errors import ForgeError, PlatformError

MOST_WORKERS = 8
_AHEAD = 3
"""Batches for each worker that are in hand, or done before their turn."""

_END_SECONDS = 5.0


class LocalEngine:
    """Runs work in processes that end with this one.

    Args:
        num_workers: how many; by default one for each core that may be used, eight at most.
    """

    def __init__(self, num_workers: int | None = None) -> None:
        self._num_workers = num_workers or min(processes.available_cores(), MOST_WORKERS)

    def map_batches(self, work: Work, batches: Iterable[Any]) -> Iterator[Any]:
        """See `Engine.map_batches`. A process is given its next batch when it has answered the last.

        A single batch is not worth a process.
        """
        coming = iter(batches)
        first = list(islice(coming, 1 if self._num_workers == 1 else 2))
        if self._num_workers == 1 or len(first) < 2:
            yield from map(work.prepare(), chain(first, coming))
            return
        with ExitStack() as stack:
            log = Path(f"/proc/self/fd/{stack.enter_context(TemporaryFile()).fileno()}")
            crew = _Crew([stack.enter_context(closing(_Worker(work, log))) for _ in range(self._num_workers)])
            for batch in chain(first, coming):
                while not crew.has_room():
                    crew.hear()
                    yield from crew.finished()
                crew.give(batch)
            while crew.in_hand:
                crew.hear()
                yield from crew.finished()


@dataclass(slots=True, eq=False)
class _Task:
    result: Any = None
    done: bool = False


class _Crew:
    """Some workers, and the batches that they have in hand or whose turn has not come, in their order."""

    def __init__(self, workers: "Sequence[_Worker]") -> None:
        self._idle = list(workers)
        self._busy: dict[int, tuple[_Worker, _Task]] = {}
        self._most = _AHEAD * len(workers)
        self.in_hand: deque[_Task] = deque()

    def has_room(self) -> bool:
        return bool(self._idle) and len(self.in_hand) < self._most

    def give(self, batch: Any) -> None:
        worker, task = self._idle.pop(), _Task()
        worker.give(batch)
        self._busy[worker.channel.fileno()] = (worker, task)
        self.in_hand.append(task)

    def hear(self) -> None:
        """Wait until a worker has a result; it is idle then."""
        poll = select.poll()
        for descriptor in self._busy:
            poll.register(descriptor, select.POLLIN)
        for descriptor, _ in poll.poll() if self._busy else ():
            worker, task = self._busy.pop(descriptor)
            task.result, task.done = worker.hear(), True
            self._idle.append(worker)

    def finished(self) -> Iterator[Any]:
        """Yield the results whose turn has come."""
        while self.in_hand and self.in_hand[0].done:
            yield self.in_hand.popleft().result


class _Worker:
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
        try:
            send(self.channel, pickle.dumps(batch, pickle.HIGHEST_PROTOCOL))
        except (BrokenPipeError, ConnectionResetError):
            raise self._ended() from None

    def hear(self) -> Any:
        answer = receive(self.channel)
        if answer is None:
            raise self._ended()
        result = pickle.loads(answer)
        if isinstance(result, ForgeError):
            raise result
        return result

    def close(self) -> None:
        self.channel.close()
        processes.end(self._process, grace_seconds=0.0)

    def _ended(self) -> PlatformError:
        processes.await_end(self._process, _END_SECONDS)
        code = self._process.returncode
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        lines = self._log.read_text(errors="replace").strip().splitlines()
        said = f": {lines[-1]}" if lines else ""
        return PlatformError(f"a process that worked on documents ended {how}{said}; run it again")
