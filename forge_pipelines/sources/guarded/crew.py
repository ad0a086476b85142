"""Several reading processes: files are handed out as they come, and word of them comes back in the files' order."""

import math
import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

from forge_pipelines import processes
from forge_pipelines.channel import speakers
from forge_pipelines.sources.config import ReadingLimits
from forge_pipelines.sources.guarded.child import Child, GoneError
from forge_pipelines.sources.guarded.task import Task
from forge_pipelines.sources.place import Refusal
from forge_pipelines.sources.readers import unfolding
from forge_pipelines.sources.readers.reading import Content, Part, ReadingOptions

MOST_WORKERS = 4
_AHEAD_FILES, _AHEAD_OF_FEW = 64, 256
_AHEAD_SIZE = 128 << 20
_END_SECONDS = 5.0
_WORTH_SECONDS = 1.0
"""About what it takes until a process is ready: where few files are expected, what is read in less is not worth it."""

File = tuple[str, Content]
"""A file to be read: the SHA-256 of its bytes, and the bytes or where they stand."""


def read_guarded(
    files: Iterable[File],
    limits: ReadingLimits,
    options: ReadingOptions | None = None,
    *,
    num_workers: int | None = None,
    few: bool = False,
    readers: str = unfolding.__name__,
) -> Generator[tuple[str, Part | None], None, None]:
    """Yield each file's hash with each of its parts, and with None at its end, whatever the number of workers.

    A member whose reader crashes, overstays or runs out of memory is that member's refusal, and the file's others are
    read. A crash counts only when a fresh process crashes there, too: what an earlier file left behind, or a signal
    from outside, counts against nobody. Close the iterator to end the processes early.

    Args:
        files: what is read, in this order. Files are taken ahead of the parts by at most 64 (256 of few), and no more
            once they hold 128 MiB; nor is more heard then than the next file's parts.
        limits: what one file, or one member of it, may cost.
        options: how files are read.
        num_workers: processes at a time; by default one for each core that may be used, four at most.
        few: whether few files are expected, so that more processes than one may not be worth their start.
        readers: module whose `prepare` loads what it needs, and whose `read` gives word of a file's parts.

    Raises:
        PlatformError: no process can be started.
    """
    ahead: deque[Task] = deque()
    size = num_workers or min(processes.available_cores(), MOST_WORKERS)
    # Without a name of its own the log cannot outlive a run that is killed.
    with TemporaryFile() as log:
        start = _Starter(limits, options or ReadingOptions(), readers, Path(f"/proc/self/fd/{log.fileno()}"))
        most_ahead = _AHEAD_OF_FEW if few else _AHEAD_FILES
        with _Crew(start, size, _WORTH_SECONDS if few else 0.0) as crew:
            for sha256, content in files:
                ahead.append(crew.take(Task(sha256, content)))
                while ahead and (ahead[0].done or _is_much(ahead, most_ahead)):
                    yield from _parts(ahead, crew, most_ahead)
            while ahead:
                yield from _parts(ahead, crew, most_ahead)


def _is_much(ahead: Sequence[Task], most_files: int) -> bool:
    return len(ahead) > most_files or sum(task.size for task in ahead) > _AHEAD_SIZE


def _parts(ahead: deque[Task], crew: "_Crew", most_ahead: int) -> Generator[tuple[str, Part | None], None, None]:
    task = ahead[0]
    while task.parts or not task.done:
        while task.parts:
            yield task.sha256, task.take()
        if not task.done:
            crew.wait(task if _is_much(ahead, most_ahead) else None)
    ahead.popleft()
    yield task.sha256, None


class _Starter:
    def __init__(self, limits: ReadingLimits, options: ReadingOptions, readers: str, log: Path) -> None:
        self.limits = limits
        self._options = options
        self._readers = readers
        self._log = log

    def __call__(self) -> Child:
        return Child(self.limits, self._options, self._readers, self._log)


class _Crew:
    def __init__(self, start: _Starter, size: int, patience_seconds: float) -> None:
        self._starter = start
        self._size = size
        self._patience_seconds = patience_seconds
        self._worth_since = math.inf if patience_seconds else 0.0
        self._children: list[Child] = []
        self._backlog: deque[Task] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children:
            child.end()

    def take(self, task: Task) -> Task:
        """Hand a file to a process as soon as one has room for it; where there are few, do not wait until one has."""
        self._backlog.append(task)
        self._hand_out()
        while self._backlog and not self._patience_seconds:
            self.wait()
        if self._backlog:
            self._hear_all(_speakers(self._children, 0))
        return task

    def _hand_out(self) -> None:
        while self._backlog and (child := self._child_for(self._backlog[0])) is not None:
            child.give(self._backlog.popleft())

    def wait(self, first: Task | None = None) -> None:
        """Hear the processes that have something to say, and give up those that had to say it before now.

        What waits for a process does so no longer than another one is not worth its start.

        Args:
            first: only the process that reads this task is heard; the others wait until there is room for more.
        """
        children = [child for child in self._children if first is None or first in child.tasks] or self._children
        soonest = min(child.deadline for child in children)
        if self._backlog and len(self._children) < self._size:
            soonest = min(soonest, self._worth_since)
        heard = _speakers(children, soonest - time.monotonic())
        now = time.monotonic()
        late = [child for child in children if child not in heard and child.deadline <= now]
        self._hear_all(heard)
        for child in late:
            self._give_up(child)
        self._hand_out()

    def _hear_all(self, children: Sequence[Child]) -> None:
        for child in children:
            self._hear(child)
        self._hand_out()

    def _child_for(self, task: Task) -> Child | None:
        with_room = [child for child in self._children if child.has_room(task)]
        if with_room:
            return min(with_room, key=lambda child: len(child.tasks))
        if len(self._children) < self._size and all(child.tasks for child in self._children) and self._is_worth_one():
            return self._start()
        return None

    def _is_worth_one(self) -> bool:
        return not self._children or time.monotonic() >= self._worth_since

    def _start(self) -> Child:
        child = self._starter()
        self._children.append(child)
        return child

    def _give_up(self, child: Child) -> None:
        if not child.ready:
            raise child.failed_start()
        self._dismiss(child)
        seconds = self._starter.limits.seconds
        refusal = Refusal("too_slow", f"was not read within {seconds:g} seconds (reading.seconds)")
        self._go_on(child.tasks, refusal, once_more=False)

    def _hear(self, child: Child) -> None:
        if not child.ready:
            if not child.await_ready():
                self._dismiss(child)
                self._start_again(child.tasks)
            self._worth_since = min(self._worth_since, time.monotonic() + self._patience_seconds)
            return
        try:
            word = child.hear()
        except GoneError:
            how = self._dismiss(child, _END_SECONDS)
            self._go_on(child.tasks, Refusal("crashed", f"made its reader end {how}"), once_more=True)
            return
        if isinstance(word, Part) and isinstance(word.outcome, Refusal) and word.outcome.rule == "too_much_memory":
            self._dismiss(child)
            self._go_on(child.tasks, word.outcome, once_more=True)
            return
        child.tasks[0].hear(word)
        if child.tasks[0].done:
            child.tasks.popleft()

    def _go_on(self, tasks: deque[Task], refusal: Refusal, *, once_more: bool) -> None:
        """Refuse what an ended process was reading, or have it tried once more; a fresh process does the rest."""
        if tasks:
            tasks[0].fail(refusal, once_more=once_more)
            if tasks[0].done:
                tasks.popleft()
        if tasks:
            self._start_again(tasks)

    def _start_again(self, tasks: deque[Task]) -> None:
        """Give an ended process's tasks to a fresh one, which begins with the first of them."""
        child = self._start()
        if not child.await_ready():
            raise child.failed_start()
        for task in tasks:
            child.give(task)

    def _dismiss(self, child: Child, patience_seconds: float = 0.0) -> str:
        self._children.remove(child)
        return child.end(patience_seconds)


def _speakers(children: Sequence[Child], seconds: float) -> list[Child]:
    """Wait so long until a process has something to say; return those that have."""
    by_channel = {child.channel.fileno(): child for child in children}
    return [by_channel[descriptor] for descriptor in speakers(by_channel, seconds)]
