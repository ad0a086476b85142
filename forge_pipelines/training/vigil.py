"""Watches over ranks from outside them: which have stopped getting on, what each is at, and the sentence about it."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from forge_pipelines.training.heartbeat import ASK, Phase, Pulse, read_pulse, stacks_path
from forge_pipelines.training.job import TrainingJob

_MOST_SECONDS_BETWEEN_LOOKS = 2.0
_LEAST_SECONDS: Mapping[Phase, float] = {"starting": 900, "first step": 900, "saving": 120, "finishing": 300}
"""Imports from a slow disk, loading a base, compiling: however short `training.stall_seconds` is."""
_SLOWEST_BYTES_PER_SECOND = 50e6
_ANSWER_SECONDS = 5.0
_STOPPED = "it is stopped by a signal"


@dataclass(frozen=True, slots=True)
class Stall:
    """Ranks that have done nothing for longer than they may.

    Attributes:
        ranks: of those that hang, the ones that are furthest behind: the others may be waiting for them.
        seconds: for how long, at least.
        step: optimizer steps that were done.
        phase: what they were at.
        how: what is known of their processes, in words, or empty.
    """

    ranks: tuple[int, ...]
    seconds: float
    step: int
    phase: Phase
    how: str


class Vigil:
    """Looks at the ranks' pulses, about once a second, whenever they say nothing.

    It counts the time between its own looks, and none of these for more than two seconds: a machine that slept, or a
    caller that was held up, is no rank that hangs.

    Args:
        job: what the ranks do.
        clock: gives the time, in seconds.
    """

    def __init__(self, job: TrainingJob, clock: Callable[[], float] = time.monotonic) -> None:
        self._job, self._clock = job, clock
        self._looked = clock()
        self._pulses: dict[int, Pulse | None] = dict.fromkeys(range(job.world_size))
        self._silent = dict.fromkeys(range(job.world_size), 0.0)

    def look(self) -> Stall | None:
        """Return which ranks hang; None as long as none does."""
        now = self._clock()
        passed, self._looked = min(now - self._looked, _MOST_SECONDS_BETWEEN_LOOKS), now
        for rank, before in self._pulses.items():
            pulse = read_pulse(self._job.rendezvous, rank)
            self._silent[rank] = self._silent[rank] + passed if pulse == before else 0.0
            self._pulses[rank] = pulse
        late = [rank for rank, pulse in self._pulses.items() if self._silent[rank] > self._allowance(pulse)]
        return self._stall(late) if late else None

    def ask_for_stacks(self, log: Path) -> None:
        """Have every rank write its stacks, and append them to the log; a rank that cannot is named there."""
        asked = {rank: pulse.pid for rank, pulse in self._pulses.items() if pulse}
        for pid in asked.values():
            with suppress(ProcessLookupError):  # it has ended
                os.kill(pid, ASK)
        deadline = time.monotonic() + _ANSWER_SECONDS
        while time.monotonic() < deadline and not all(self._stacks(rank) for rank in asked):
            time.sleep(0.1)
        time.sleep(0.1)  # an answer is many small writes
        with log.open("a") as file:
            for rank, pulse in self._pulses.items():
                file.write(f"\n{self._described(rank, pulse)}\n{self._stacks(rank)}")

    def _allowance(self, pulse: Pulse | None) -> float:
        phase, slow_bytes = (pulse.phase, pulse.slow_bytes) if pulse else ("starting", 0)
        least = _LEAST_SECONDS.get(phase, 0.0)
        return max(self._job.recipe.stall_seconds, least) + slow_bytes / _SLOWEST_BYTES_PER_SECOND

    def _stall(self, late: Sequence[int]) -> Stall:
        stopped = [rank for rank in late if _state(self._pulses[rank]) == psutil.STATUS_STOPPED]
        furthest = min(_progress(self._pulses[rank]) for rank in late)
        behind = stopped or [rank for rank in late if _progress(self._pulses[rank]) == furthest]
        pulse = self._pulses[behind[0]]
        return Stall(
            ranks=tuple(behind),
            seconds=min(self._silent[rank] for rank in behind),
            step=pulse.step if pulse else 0,
            phase=pulse.phase if pulse else "starting",
            how=_STOPPED if stopped else "",
        )

    def _described(self, rank: int, pulse: Pulse | None) -> str:
        who = f"rank {rank} of {self._job.world_size}"
        if pulse is None:
            return f"{who} has not begun"
        silent = f"{self._silent[rank]:.0f} s"
        what = f"{who} (process {pulse.pid}, {_state(pulse)}): {pulse.phase}, step {pulse.step}, silent for {silent}"
        return f"{what}; its stacks:" if self._stacks(rank) else f"{what}; it gives no stack: {_STOPPED}, or gone"

    def _stacks(self, rank: int) -> str:
        path = stacks_path(self._job.rendezvous, rank)
        return path.read_text() if path.is_file() else ""


def sentence_of(stall: Stall, job: TrainingJob, log: Path) -> str:
    """Say which ranks hang, where their stacks are, and what to do."""
    several = len(stall.ranks) > 1
    who = f"rank{'s' if several else ''} {' and '.join(map(str, stall.ranks))} of {job.world_size}"
    done = f"{'have' if several else 'has'} done nothing for {stall.seconds:.0f} s"
    where = f"{stall.phase}, step {stall.step}{f'; {stall.how}' if stall.how else ''}"
    remedy = "run the same command again, which goes on from the last checkpoint, or raise training.stall_seconds"
    return f"{who} {done} ({where}); the stacks of all ranks are in {log}; {remedy} if so long a pause is right"


def _progress(pulse: Pulse | None) -> tuple[int, int]:
    return (pulse.step, pulse.beats) if pulse else (-1, -1)


def _state(pulse: Pulse | None) -> str:
    try:
        return psutil.Process(pulse.pid).status() if pulse else "unknown"
    except psutil.NoSuchProcess:
        return "gone"
