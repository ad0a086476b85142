"""Old runs go from Dagster's records on PostgreSQL, and what it says of every asset and check stays what it was."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from forge_assets.automation.retention import forge_retention, old_runs, retention_definitions
from forge_assets.instance import dagster_instance
from forge_assets.settings import load_settings

DAY = dg.StaticPartitionsDefinition(["monday", "tuesday"])


@dg.asset(check_specs=[dg.AssetCheckSpec("is_right", asset="answer")])
def answer() -> dg.MaterializeResult:
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True, check_name="is_right")])


@dg.asset
def broken() -> None:
    raise RuntimeError("broken")


@dg.asset(partitions_def=DAY)
def daily() -> None: ...


@dg.observable_source_asset
def watched() -> dg.DataVersion:
    return dg.DataVersion("1")


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    for name in os.environ:
        if name.startswith("FORGE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FORGE_HOME", str(tmp_path / "home"))
    with dagster_instance(load_settings()) as opened:
        yield opened


def retain(instance: dg.DagsterInstance, keep_days: float) -> None:
    config = {"ops": {"delete_old_runs": {"config": {"keep_days": keep_days}}}}
    assert forge_retention.execute_in_process(instance=instance, run_config=config).success


def there(instance: dg.DagsterInstance, *run_ids: str) -> list[bool]:
    return [instance.has_run(run_id) for run_id in run_ids]


def test_old_runs_go_and_the_last_word_on_everything_stays(instance: dg.DagsterInstance) -> None:
    def run(*assets: dg.AssetsDefinition, partition: str | None = None) -> str:
        return dg.materialize(assets, instance=instance, raise_on_error=False, partition_key=partition).run_id

    answers = [run(answer) for _ in range(3)]
    failures = [run(broken) for _ in range(2)]
    days = [run(daily, partition=day) for day in ("monday", "monday", "tuesday")]
    job = dg.define_asset_job("unfinished").resolve(asset_graph=dg.Definitions([answer]).resolve_asset_graph())
    unfinished = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED).run_id
    seen = [observe(instance) for _ in range(2)]
    before = instance.get_latest_materialization_event(dg.AssetKey("answer"))
    assert (Path(instance.root_directory) / "storage" / answers[0]).is_dir()

    retain(instance, keep_days=1)
    assert all(there(instance, *answers, *failures, *days, *seen)), "nothing is that old"
    retain(instance, keep_days=0)
    assert there(instance, *answers) == [False, False, True]
    assert there(instance, *failures) == [False, True]
    assert there(instance, *days) == [False, True, True]
    assert there(instance, *seen) == [False, True]
    assert there(instance, unfinished) == [True]
    assert not (Path(instance.root_directory) / "storage" / answers[0]).exists()
    assert instance.all_logs(answers[0]) == []

    assert instance.get_latest_materialization_event(dg.AssetKey("answer")) == before
    assert instance.get_materialized_partitions(dg.AssetKey("daily")) == {"monday", "tuesday"}
    check = dg.AssetCheckKey(dg.AssetKey("answer"), "is_right")
    evaluated = instance.event_log_storage.get_asset_check_summary_records([check])[check]
    assert evaluated.last_completed_check_execution_record is not None
    assert evaluated.last_completed_check_execution_record.run_id == answers[2]


def observe(instance: dg.DagsterInstance) -> str:
    job = dg.Definitions([watched]).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(instance=instance).run_id


def test_a_check_that_ran_alone_keeps_its_run(instance: dg.DagsterInstance) -> None:
    @dg.asset_check(asset=answer)
    def is_even() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    selection = dg.AssetSelection.checks(is_even)
    runs = [dg.materialize([answer, is_even], selection=selection, instance=instance).run_id for _ in range(2)]
    retain(instance, keep_days=0)
    assert there(instance, *runs) == [False, True]


def test_more_runs_than_a_page_holds_are_found(instance: dg.DagsterInstance) -> None:
    @dg.job
    def nothing() -> None: ...

    made = [instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.SUCCESS).run_id for _ in range(101)]
    assert old_runs(instance, datetime.now(UTC) + timedelta(minutes=1)) == (made, 0)
    assert old_runs(instance, datetime.now(UTC) - timedelta(days=1)) == ([], 0)


def test_it_runs_daily_by_itself() -> None:
    repository = retention_definitions().get_repository_def()
    schedule = repository.get_schedule_def("forge_retention_daily")
    assert schedule.cron_schedule == "0 3 * * *"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
