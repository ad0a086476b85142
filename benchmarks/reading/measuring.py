"""Runs `once.py`, and watches how much memory its processes hold together."""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
from running.children import SAMPLE_SECONDS, held_together

_ONCE = Path(__file__).with_name("once.py")

Measured = dict[str, float]
"""What `once.py` prints: seconds, cpu_seconds, documents, bytes."""


def read(mode: str, folder: Path, store: Path, num_cores: int = 2) -> Measured:
    """Read a folder in a process of its own; return what it took."""
    with _start(mode, folder, store, num_cores) as process:
        return _result(process)


def read_watched(folder: Path, store: Path) -> tuple[Measured, int]:
    """Read a folder by Forge; return what it took, and the most bytes (PSS) that its processes held together."""
    most = 0
    with _start("forge", folder, store, 2) as process:
        parent = psutil.Process(process.pid)
        while process.poll() is None:
            most = max(most, held_together(parent).pss)
            time.sleep(SAMPLE_SECONDS)
        return _result(process), most


def _start(mode: str, folder: Path, store: Path, num_cores: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(_ONCE), mode, str(folder), str(store), str(num_cores)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _result(process: subprocess.Popen[str]) -> Measured:
    output, _ = process.communicate()
    if process.returncode != 0:
        sys.exit("bench-sources: a reading failed, as said above")
    measured: Measured = json.loads(output)
    return measured
