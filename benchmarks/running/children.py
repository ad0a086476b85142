"""Processes that are measured: on how many cores they run, what they take, and how much memory they hold together."""

import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command took, with all processes that it started, from its start to its end; and its last line."""

    seconds: float
    cpu_seconds: float
    said: str


@dataclass(frozen=True, slots=True)
class Held:
    """The most bytes that processes held together; `pss` counts a page that they share once, `rss` once for each."""

    rss: int = 0
    pss: int = 0


def run(command: Sequence[str | Path], num_cores: int = 2) -> Ended:
    """Run a command on so many cores to its end; if it fails, end with what it said."""
    started, used = time.monotonic(), _cpu_seconds()
    with _start(command, num_cores) as process:
        said = _said(process)
    return Ended(time.monotonic() - started, _cpu_seconds() - used, said)


def run_watched(command: Sequence[str | Path], num_cores: int = 2) -> tuple[Ended, Held]:
    """Run a command as `run` does; return, too, the most bytes that all its processes held at one time."""
    watch = _Watch()
    started, used = time.monotonic(), _cpu_seconds()
    with _start(command, num_cores) as process:
        watcher = threading.Thread(target=watch, args=[psutil.Process(process.pid)])
        watcher.start()
        said = _said(process)
        watcher.join()
    return Ended(time.monotonic() - started, _cpu_seconds() - used, said), watch.held


def held_together(parent: psutil.Process) -> Held:
    """Return what a process and all its descendants hold now: nothing once it has ended."""
    try:
        each = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return Held()
    rss, pss = zip(*map(_held, each), strict=True)
    return Held(sum(rss), sum(pss))


def spread(values: Sequence[float], form: str) -> str:
    """Return median, least and most."""
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


class _Watch:
    def __init__(self) -> None:
        self.held = Held()

    def __call__(self, parent: psutil.Process) -> None:
        while (now := held_together(parent)).rss:
            self.held = Held(max(self.held.rss, now.rss), max(self.held.pss, now.pss))
            time.sleep(SAMPLE_SECONDS)


def _start(command: Sequence[str | Path], num_cores: int) -> subprocess.Popen[str]:
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:num_cores]))
    return subprocess.Popen(
        ["taskset", "--cpu-list", cores, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _said(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate()
    if process.returncode != 0:
        sys.exit(f"{process.args!r} failed: {errors[-2000:]}")
    return (output.splitlines() or [""])[-1]


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _held(process: psutil.Process) -> tuple[int, int]:
    try:
        held = process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):  # it ended a moment ago
        return 0, 0
    return int(held.rss), int(held.pss)
