"""Nobody but the launcher notices that a run's process is gone when its code server is gone, too."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus

from forge_assets.executor.launcher import ForgeRunLauncher
from forge_assets.executor.workers import HOST_TAG, here
from forge_assets.instance import dagster_instance
from forge_assets.settings import load_settings

WORKS = """
import sys, time
from pathlib import Path
from forge_assets.executor.workers import work_to_the_end
work_to_the_end(Path(sys.argv[1]), sys.argv[2])
print("works", flush=True)
time.sleep(600)
"""


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("FORGE_HOME", str(tmp_path / "home"))
    with dagster_instance(load_settings()) as instance:
        yield instance


def started_run(instance: dg.DagsterInstance) -> tuple[dg.DagsterRun, subprocess.Popen[str]]:
    """A run, and a process that works on it."""

    @dg.op
    def nothing() -> None: ...

    @dg.job
    def empty() -> None:
        nothing()

    run = instance.create_run_for_job(empty, status=dg.DagsterRunStatus.STARTED, tags={HOST_TAG: here()})
    command = [sys.executable, "-c", WORKS, str(load_settings().home), run.run_id]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None and worker.stdout.readline() == "works\n"
    return run, worker


def test_a_run_whose_process_was_killed_is_told_as_failed_and_its_cancelling_ends_at_once(
    instance: dg.DagsterInstance,
) -> None:
    launcher = instance.run_launcher
    assert isinstance(launcher, ForgeRunLauncher)
    run, worker = started_run(instance)
    assert launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    worker.kill()
    worker.wait()
    health = launcher.check_run_worker_health(run)
    assert (health.status, health.msg) == (WorkerStatus.FAILED, f"its process {worker.pid} was killed")
    assert launcher.terminate(run.run_id)
    found = instance.get_run_by_id(run.run_id)
    assert found is not None and found.status == dg.DagsterRunStatus.CANCELED


def test_a_run_of_another_machine_is_its_own_affair(instance: dg.DagsterInstance) -> None:
    run, worker = started_run(instance)
    worker.kill()
    worker.wait()
    elsewhere = run.with_tags({HOST_TAG: "another:/home"})
    assert instance.run_launcher.check_run_worker_health(elsewhere).status == WorkerStatus.RUNNING
