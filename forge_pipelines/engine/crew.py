"""Several processes of an engine: batches are handed out as they come, and results come back in the batches' order."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from forge_pipelines.channel import speakers
from forge_pipelines.engine.child import Child

_AHEAD = 3
"""Batches for each process that wait, are in hand, or are done before their turn."""


@dataclass(slots=True, eq=False)
class _Task:
    batch: Sequence[Any]
    result: Any = None
    done: bool = False


class Crew:
    """Some processes, and the batches whose turn has not come.

    Args:
        start: starts a process.
        most: how many there may be.
    """

    def __init__(self, start: Callable[[], Child], most: int) -> None:
        self._start, self._most = start, most
        self._idle: list[Child] = []
        self._busy: dict[int, tuple[Child, _Task | None]] = {}
        self._waiting: deque[_Task] = deque()
        self._in_hand: deque[_Task] = deque()

    def has_room(self) -> bool:
        """Whether another batch may be given."""
        return len(self._in_hand) < _AHEAD * self._most

    def is_at_work(self) -> bool:
        """Whether a result is to come."""
        return bool(self._in_hand)

    def give(self, batch: Sequence[Any]) -> None:
        """Take a batch, and hand it to a process when one is idle; an empty one is done."""
        task = _Task(batch) if batch else _Task(batch, [], done=True)
        self._in_hand.append(task)
        if not task.done:
            self._waiting.append(task)
            self._hand_out()

    def hear(self, *, wait: bool) -> None:
        """Take the results that have come; wait until one has, if told."""
        for descriptor in speakers(self._busy, math.inf if wait else 0) if self._busy else ():
            child, task = self._busy.pop(descriptor)
            result = child.hear()
            if task is not None:
                task.result, task.done = result, True
            self._idle.append(child)
        self._hand_out()

    def finished(self) -> Iterator[Any]:
        """Yield the results whose turn has come."""
        while self._in_hand and self._in_hand[0].done:
            yield self._in_hand.popleft().result

    def _hand_out(self) -> None:
        while self._waiting and self._idle:
            child, task = self._idle.pop(), self._waiting.popleft()
            child.give(task.batch)
            task.batch = ()
            self._busy[child.channel.fileno()] = (child, task)
        starting = sum(task is None for _, task in self._busy.values())
        while starting < len(self._waiting) and len(self._busy) + len(self._idle) < self._most:
            child = self._start()
            self._busy[child.channel.fileno()] = (child, None)
            starting += 1
