"""A process that works on a run, and on nothing else."""

import subprocess
import sys
from pathlib import Path

WORKS = """
import sys, time
from pathlib import Path
from forge_assets.executor.workers import work_to_the_end
work_to_the_end(Path(sys.argv[1]), sys.argv[2])
print("works", flush=True)
time.sleep(600)
"""


def start_worker(home: Path, run_id: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKS, str(home), run_id]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None and worker.stdout.readline() == "works\n"
    return worker
