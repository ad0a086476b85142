"""How a stage tells what it is doing. The Dagster face and the command line decide where it is shown."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

REMAINING = "remaining_seconds"
"""The metric by which a stage says itself how long it still takes."""

_PACE_SECONDS = 30.0
_SECONDS_BETWEEN_SAMPLES = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """One report of a running stage.

    Attributes:
        stage: what is running, in words a person reads (``"handbook: reading"``).
        done: units finished so far.
        total: units in all, or None while that is not known.
        unit: what is counted (``"files"``, ``"steps"``).
        metrics: numbers worth a curve, by name (``"loss"``), at position ``done``; the stage's own rate is the one
            that is named after its unit (``"files/s"``).
        message: one sentence worth keeping in a log, or empty.
    """

    stage: str
    done: float = 0
    total: float | None = None
    unit: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    message: str = ""

    @property
    def rate_name(self) -> str:
        """What the stage's own rate is called among its metrics."""
        return f"{self.unit}/s"

    @property
    def seconds_left(self) -> float | None:
        """Time until ``total`` in seconds, as the stage says or at its own rate; None where neither is known."""
        if REMAINING in self.metrics:
            return self.metrics[REMAINING]
        rate = self.metrics.get(self.rate_name)
        if not rate or self.total is None:
            return None
        return max(self.total - self.done, 0.0) / rate


class Pace:
    """How fast numbers have grown over the last half minute: what went before says little of what is left.

    Args:
        counts: where they begin.
        clock: gives the time, in seconds.
    """

    def __init__(self, *counts: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples = deque([(clock(), counts)])

    def per_second(self, *counts: float) -> list[float]:
        """Take the numbers as they are now, and return how much each has grown in a second."""
        now = self._clock()
        while len(self._samples) > 1 and now - self._samples[1][0] >= _PACE_SECONDS:
            self._samples.popleft()
        began_at, before = self._samples[0]
        if now - self._samples[-1][0] >= _SECONDS_BETWEEN_SAMPLES:
            self._samples.append((now, counts))
        seconds = max(now - began_at, 1e-3)
        return [(count - then) / seconds for count, then in zip(counts, before, strict=True)]


OnProgress = Callable[[Progress], None]


def silent(_progress: Progress) -> None:
    """Ignore a report: the default where nobody watches."""
