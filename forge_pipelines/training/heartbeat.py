"""How a rank shows that it gets on: a small file that it overwrites, and the stacks that it writes when asked.

A rank beats where its training gets on (a micro-batch, a step, a checkpoint), never from a thread of its own, which
would go on while training hangs. What a beat means, and when it is missed, says `vigil`.
"""

import faulthandler
import os
import signal
import struct
from pathlib import Path
from typing import Literal, NamedTuple

ASK = signal.SIGUSR1
"""The signal at which a rank writes its stacks, whatever it is doing."""

Phase = Literal["starting", "first step", "training", "saving", "finishing"]
_PHASES: tuple[Phase, ...] = ("starting", "first step", "training", "saving", "finishing")
_PULSE = struct.Struct("<IBQQQ")


class Pulse(NamedTuple):
    """What a rank's last beat said.

    Attributes:
        pid: the rank's process.
        phase: what it was at.
        step: the optimizer steps that were done.
        beats: how often it has beaten; what has not changed means that the rank did not get on.
        slow_bytes: what this phase moves to or from a disk, at most.
    """

    pid: int
    phase: Phase
    step: int
    beats: int
    slow_bytes: int


class Heart:
    """A rank's side: it is made before the slow imports, and answers `ASK` from then on."""

    def __init__(self, folder: Path, rank: int) -> None:
        self._file = os.open(_pulse_path(folder, rank), os.O_RDWR | os.O_CREAT, 0o644)
        self._stacks = stacks_path(folder, rank).open("w")
        self._beats = 0
        faulthandler.register(ASK, self._stacks, all_threads=True)
        self.beat("starting")

    def beat(self, phase: Phase, step: int = 0, slow_bytes: int = 0) -> None:
        """Say that training got on; it takes microseconds."""
        self._beats += 1
        os.pwrite(self._file, _PULSE.pack(os.getpid(), _PHASES.index(phase), step, self._beats, slow_bytes), 0)


def read_pulse(folder: Path, rank: int) -> Pulse | None:
    """Return what a rank's last beat said; None before its first."""
    try:
        content = _pulse_path(folder, rank).read_bytes()
    except FileNotFoundError:
        return None
    if len(content) < _PULSE.size:
        return None
    pid, phase, step, beats, slow_bytes = _PULSE.unpack(content)
    return Pulse(pid, _PHASES[phase], step, beats, slow_bytes)


def stacks_path(folder: Path, rank: int) -> Path:
    """Return the file that a rank writes its stacks to."""
    return folder / f"stacks-{rank}"


def _pulse_path(folder: Path, rank: int) -> Path:
    return folder / f"pulse-{rank}"
