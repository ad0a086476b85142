"""A run's process is known to live, to hang or to be gone, however it ended and whatever has its number now."""

import os
import time
from pathlib import Path

from run_worker import start_worker

from forge_assets.executor.workers import forget_finished, work_to_the_end, worker_of, working


def test_a_worker_that_was_killed_is_gone(tmp_path: Path) -> None:
    process = start_worker(tmp_path, "run")
    found = worker_of(tmp_path, "run")
    assert found is not None and (found.pid, found.state) == (process.pid, "alive")
    process.kill()
    process.wait()
    found = worker_of(tmp_path, "run")
    assert found is not None and found.state == "gone"
    forget_finished(tmp_path, {"run"})
    assert worker_of(tmp_path, "run") is not None
    forget_finished(tmp_path, set())
    assert worker_of(tmp_path, "run") is None


def test_a_worker_that_gives_no_sign_for_ten_minutes_hangs(tmp_path: Path) -> None:
    give_sign = work_to_the_end(tmp_path, "run")
    long_ago = time.time() - 700
    os.utime(tmp_path / "runs" / "run.json", (long_ago, long_ago))
    found = worker_of(tmp_path, "run")
    assert found is not None and found.state == "hung"
    give_sign()
    found = worker_of(tmp_path, "run")
    assert found is not None and found.state == "alive"


def test_a_run_that_ended_in_order_has_no_worker(tmp_path: Path) -> None:
    with working(tmp_path, "run"):
        assert worker_of(tmp_path, "run") is not None
    assert worker_of(tmp_path, "run") is None
