"""Several reading processes: files are handed out as they come, and the answers come back in the files' order."""

import math
import selectors
import time
from collections import deque
from collections.abc import Generator, Iterable
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

from forge_pipelines import processes
from forge_pipelines.sources.config import ReadingLimits
from forge_pipelines.sources.guarded.child import Child, Task
from forge_pipelines.sources.guarded.frames import Answer
from forge_pipelines.sources.place import Refusal
from forge_pipelines.sources.readers import registry
from forge_pipelines.sources.readers.reading import Reading

MOST_WORKERS = 4
_AHEAD_FILES = 64
_AHEAD_SIZE = 128 << 20
_END_SECONDS = 5.0


def read_guarded(
    contents: Iterable[bytes | Refusal],
    limits: ReadingLimits,
    *,
    num_workers: int | None = None,
    readers: str = registry.__name__,
) -> Generator[Answer, None, None]:
    """Yield what became of each file, in their order, whatever the number of workers.

    A file whose reader crashes or runs out of memory is tried once more, in a fresh process: what an earlier file left
    behind, or a signal from outside, does not count against it. Close the iterator to end the processes early.

    Args:
        contents: files' bytes; a refusal is passed on in its place. Read ahead of the answers by at most 64 files, and
            no more once those hold 128 MiB.
        limits: what one file may cost.
        num_workers: processes at a time; by default one for each core that may be used, four at most.
        readers: module whose `read` turns bytes into a `Reading`.

    Raises:
        PlatformError: no process can be started.
    """
    ahead: deque[Task] = deque()
    size = num_workers or min(processes.available_cores(), MOST_WORKERS)
    # Without a name of its own the log cannot outlive a run that is killed.
    with TemporaryFile() as log, _Crew(limits, size, readers, Path(f"/proc/self/fd/{log.fileno()}")) as crew:
        for content in contents:
            ahead.append(crew.take(content))
            while ahead and (ahead[0].answer or len(ahead) > _AHEAD_FILES or _held(ahead) > _AHEAD_SIZE):
                yield crew.finish(ahead.popleft())
        while ahead:
            yield crew.finish(ahead.popleft())


def _held(tasks: Iterable[Task]) -> int:
    """Return how much tasks hold: the bytes of those that wait, the characters of those that are read."""
    return sum(len(task.answer.text) if isinstance(task.answer, Reading) else len(task.content) for task in tasks)


class _Crew:
    def __init__(self, limits: ReadingLimits, size: int, readers: str, log: Path) -> None:
        self._limits = limits
        self._size = size
        self._readers = readers
        self._children: list[Child] = []
        self._selector = selectors.DefaultSelector()
        self._log = log

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children:
            child.end()
        self._selector.close()

    def take(self, content: bytes | Refusal) -> Task:
        """Hand a file to a process that has room for it, as soon as one has."""
        if isinstance(content, Refusal):
            return Task(b"", content)
        task = Task(content)
        while (child := self._child_for(task)) is None:
            self._wait()
        child.give(task)
        return task

    def finish(self, task: Task) -> Answer:
        """Wait for a task's answer."""
        while task.answer is None:
            self._wait()
        return task.answer

    def _child_for(self, task: Task) -> Child | None:
        with_room = [child for child in self._children if child.has_room(task)]
        if with_room:
            return min(with_room, key=lambda child: len(child.tasks))
        if len(self._children) < self._size and all(child.tasks for child in self._children):
            started = self._start()
            return started if started.has_room(task) else None
        return None

    def _start(self) -> Child:
        child = Child(self._limits, self._readers, self._log)
        self._children.append(child)
        self._selector.register(child.channel, selectors.EVENT_READ, child)
        return child

    def _wait(self) -> None:
        """Hear the processes that have something to say, and give up those that had to say it before now."""
        soonest = min(child.deadline for child in self._children)
        timeout_seconds = None if math.isinf(soonest) else max(0.0, soonest - time.monotonic())
        heard = [key.data for key, _ in self._selector.select(timeout_seconds)]
        now = time.monotonic()
        late = [child for child in self._children if child not in heard and child.deadline <= now]
        for child in heard:
            self._hear(child)
        for child in late:
            self._give_up(child)

    def _give_up(self, child: Child) -> None:
        if not child.ready:
            raise child.failed_start()
        self._dismiss(child)
        reason = f"was not read within {self._limits.seconds:g} seconds (reading.seconds)"
        _settle(child.tasks.popleft(), Refusal("too_slow", reason))
        if child.tasks:
            self._start_again(child.tasks)

    def _hear(self, child: Child) -> None:
        if not child.ready:
            if not child.await_ready():
                self._dismiss(child)
                self._start_again(child.tasks)
            return
        answer = child.hear()
        if answer is None:
            how = self._dismiss(child, _END_SECONDS)
            self._try_again(child.tasks, Refusal("crashed", f"made its reader end {how}"))
        elif isinstance(answer, Refusal) and answer.rule == "too_much_memory":
            self._dismiss(child)
            self._try_again(child.tasks, answer)
        else:
            _settle(child.tasks.popleft(), answer)

    def _try_again(self, tasks: deque[Task], refusal: Refusal) -> None:
        """Refuse the first of an ended process's tasks, unless a fresh process shall try it first."""
        if tasks and tasks[0].tried:
            _settle(tasks.popleft(), refusal)
        elif tasks:
            tasks[0].tried = True
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
        self._selector.unregister(child.channel)
        return child.end(patience_seconds)


def _settle(task: Task, answer: Answer) -> None:
    task.answer = answer
    task.content = b""
