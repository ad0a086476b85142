"""What a training has used of the machine, over all of its launches: seconds of GPUs and CPUs, and energy."""

import os
import resource
import time
from pathlib import Path

import psutil

from forge_pipelines.manifest import Value
from forge_pipelines.training.heartbeat import read_pulse
from forge_pipelines.training.job import TrainingJob

_FILE = "used.json"
_FILE_BYTES = 256
_SECONDS_BETWEEN_NOTES = 5.0


class Usage(Value):
    """What was used.

    Attributes:
        gpu_seconds: GPUs times seconds for which the ranks held them.
        cpu_seconds: of all ranks and of what started them.
        energy_joules: drawn by the GPUs; None where nobody counts it.
    """

    gpu_seconds: float = 0.0
    cpu_seconds: float = 0.0
    energy_joules: float | None = None

    def and_then(self, more: "Usage") -> "Usage":
        """Return both together; energy is that of the launches whose energy was counted."""
        counted = [each.energy_joules for each in (self, more) if each.energy_joules is not None]
        return Usage(
            gpu_seconds=self.gpu_seconds + more.gpu_seconds,
            cpu_seconds=self.cpu_seconds + more.cpu_seconds,
            energy_joules=sum(counted) if counted else None,
        )

    @property
    def in_words(self) -> dict[str, float | str]:
        """The three by name, as a manifest states them; energy that nobody counted is «not measured»."""
        energy = "not measured" if self.energy_joules is None else round(self.energy_joules)
        return {
            "gpu_seconds": round(self.gpu_seconds, 1),
            "cpu_seconds": round(self.cpu_seconds, 1),
            "energy_joules": energy,
        }


def read_usage(folder: Path) -> Usage:
    """Return what all launches have used that worked in a folder: nothing, where that cannot be read."""
    try:
        return Usage.model_validate_json((folder / _FILE).read_bytes())
    except (FileNotFoundError, ValueError):  # none yet, or one that was torn when the machine lost its power
        return Usage()


class Meter:
    """Counts what a launch uses, and notes it every few seconds: a launch that is killed has used it, too.

    Args:
        job: what is launched.
        folder: where what the launches before have used is noted.
    """

    def __init__(self, job: TrainingJob, folder: Path) -> None:
        self._job, self._before = job, read_usage(folder)
        self._gpus = job.world_size if job.device == "cuda" else 0
        self._started, self._cpu_before = time.monotonic(), _cpu_seconds_of_ended()
        self._joules: float | None = None
        # Written in place, always as long: on a disk that is full meanwhile there is still room for it.
        self._file = os.open(folder / _FILE, os.O_RDWR | os.O_CREAT, 0o644)
        self._noted = 0.0
        self._note(0.0)

    def goes_on(self, joules: float | None = None) -> None:
        """Note what was used, now and then; ``joules`` is what the ranks say of this launch."""
        self._joules = self._joules if joules is None else joules
        if time.monotonic() - self._noted >= _SECONDS_BETWEEN_NOTES:
            self._note(sum(map(self._cpu_seconds_of, range(self._job.world_size))))

    def ended(self) -> None:
        """Note what was used in all, after the last process of the launch."""
        self._note(_cpu_seconds_of_ended() - self._cpu_before)
        os.close(self._file)

    def _note(self, cpu_seconds: float) -> None:
        self._noted = time.monotonic()
        gpu_seconds = self._gpus * (self._noted - self._started)
        of_launch = Usage(gpu_seconds=gpu_seconds, cpu_seconds=cpu_seconds, energy_joules=self._joules)
        content = self._before.and_then(of_launch).model_dump_json().encode()
        os.pwrite(self._file, content.ljust(_FILE_BYTES), 0)

    def _cpu_seconds_of(self, rank: int) -> float:
        pulse = read_pulse(self._job.rendezvous, rank)
        try:
            used = psutil.Process(pulse.pid).cpu_times() if pulse else None
        except psutil.NoSuchProcess:
            return 0.0
        return used.user + used.system + used.children_user + used.children_system if used else 0.0


def _cpu_seconds_of_ended() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
