"""An engine of this machine: a process for each core that may be used, or this process where there is one core."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain, islice
from typing import Any

from forge_pipelines import processes
from forge_pipelines.channel import speakers
from forge_pipelines.engine.child import Child, starter
from forge_pipelines.engine.crew import Crew
from forge_pipelines.engine.work import Aside, Work

MOST_WORKERS = 8
_WORTH_SECONDS = 1.0
"""About what it takes until a process is ready."""


class LocalEngine:
    """Runs work in processes that end with this one.

    Args:
        num_workers: how many; by default one for each core that may be used, eight at most.
    """

    def __init__(self, num_workers: int | None = None) -> None:
        self._num_workers = num_workers or min(processes.available_cores(), MOST_WORKERS)

    def map_batches(self, work: Work, batches: Iterable[Sequence[Any]], *, few: bool = False) -> Iterator[Any]:
        """See `Engine.map_batches`. A process is given its next batch when it has answered the last.

        A single batch is not worth a process; nor, where few are expected, is what this process does in a second.
        """
        coming = iter(batches)
        if few:
            yield from _done_here(work, coming, _WORTH_SECONDS)
        first = list(islice(coming, 1 if self._num_workers == 1 else 2))
        if self._num_workers == 1 or len(first) < 2:
            yield from _done_here(work, chain(first, coming))
            return
        with starter(work) as start:
            crew = Crew(start, self._num_workers)
            for batch in chain(first, coming):
                crew.give(batch)
                crew.hear(wait=False)
                yield from crew.finished()
                while not crew.has_room():
                    crew.hear(wait=True)
                    yield from crew.finished()
            while crew.is_at_work():
                crew.hear(wait=True)
                yield from crew.finished()

    @contextmanager
    def aside(self, work: Work, *, here: bool = False) -> Iterator[Aside]:
        """See `Engine.aside`. Where there is one core, it is done in this process."""
        if here or self._num_workers == 1:
            yield _Here(work)
            return
        with starter(work) as start:
            yield _Elsewhere(start())


def _done_here(work: Work, batches: Iterable[Sequence[Any]], seconds: float = math.inf) -> Iterator[Any]:
    """Yield results of batches until the work, without its preparation, has taken so long."""
    prepared, taken = cache(work.prepare), 0.0
    for batch in batches:
        if not batch:
            yield []
            continue
        do, started = prepared(), time.monotonic()
        result = do(batch)
        taken += time.monotonic() - started
        yield result
        if taken >= seconds:
            return


class _Here:
    def __init__(self, work: Work) -> None:
        self._do = work.prepare()

    def check(self) -> None:
        pass  # preparing has raised what there was to raise

    def __call__(self, batch: Any) -> Any:
        return self._do(batch)


class _Elsewhere:
    def __init__(self, child: Child) -> None:
        self._child, self._is_ready = child, False

    def check(self) -> None:
        if not self._is_ready and speakers([self._child.channel.fileno()], 0):
            self._await_ready()

    def __call__(self, batch: Any) -> Any:
        if not self._is_ready:
            self._await_ready()
        self._child.give(batch)
        return self._child.hear()

    def _await_ready(self) -> None:
        self._child.hear()
        self._is_ready = True
