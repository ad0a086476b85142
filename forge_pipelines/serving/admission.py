"""How many requests run at once, how many wait and how long: the rest is refused at once, and none hangs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from forge_pipelines.serving.refusal import Refusal

_RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """How many requests may wait for a place, and for how long."""

    waiting: int = 32
    deadline_seconds: float = 60.0


class Admission:
    """The places of one engine.

    Args:
        places: how many requests run at once.
        limits: of those that wait.
    """

    def __init__(self, places: int, limits: Limits) -> None:
        self._limits = limits
        self._free = asyncio.Semaphore(places)
        self.running = 0
        self.waiting = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place, in the order of asking.

        Raises:
            Refusal: too many wait already, or none became free in time.
        """
        await self._wait()
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._free.release()

    async def _wait(self) -> None:
        if self._free.locked() and self.waiting >= self._limits.waiting:
            raise _busy(f"{self.waiting} requests wait already")
        self.waiting += 1
        try:
            async with asyncio.timeout(self._limits.deadline_seconds):
                await self._free.acquire()
        except TimeoutError as error:
            raise _busy(f"no place became free within {self._limits.deadline_seconds:g} s") from error
        finally:
            self.waiting -= 1


def _busy(why: str) -> Refusal:
    message = f"the model is busy: {why}; send the request again later"
    return Refusal(429, message, code="rate_limit_exceeded", retry_after_seconds=_RETRY_SECONDS)
