"""Nobody but the launcher notices that a run's process is gone when its code server is gone, too."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus
from run_worker import start_worker

from forge_assets.executor.launcher import ForgeRunLauncher
from forge_assets.executor.workers import HOST_TAG, here
from forge_assets.instance import dagster_instance
from forge_assets.settings import load_settings


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
    return run, start_worker(load_settings().home, run.run_id)


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


def test_a_run_of_another_executor_is_left_alone(instance: dg.DagsterInstance) -> None:
    run, worker = started_run(instance)
    worker.kill()
    worker.wait()
    (load_settings().home / "runs" / f"{run.run_id}.json").unlink()
    assert instance.run_launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
