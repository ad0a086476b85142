"""How long an unchanged `forge run tiny` takes, and loading the definitions. Run `make demo` first."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 5
FORGE = Path(sys.executable).parent / "forge"
LOAD = "import time; t = time.monotonic(); import forge_assets.definitions; print(time.monotonic() - t)"


def seconds_of_run() -> float:
    started = time.monotonic()
    result = subprocess.run([FORGE, "run", "tiny"], capture_output=True, text=True, check=True)
    assert result.stdout.count("unchanged") == 6, result.stdout
    return time.monotonic() - started


def seconds_to_load() -> float:
    result = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=True)
    return float(result.stdout.splitlines()[-1])


def show(what: str, seconds: list[float]) -> None:
    print(f"{what}: median {statistics.median(seconds):.2f} s, {min(seconds):.2f} to {max(seconds):.2f} of {RUNS} runs")


if __name__ == "__main__":
    seconds_to_load()
    show("loading the definitions", [seconds_to_load() for _ in range(RUNS)])
    show("an unchanged chain by forge run", [seconds_of_run() for _ in range(RUNS)])
