"""How long Dagster keeps its own records: old runs go, but none that holds the last word on an asset or a check."""

from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from pydantic import Field
from sqlalchemy import func, select

KEEP_DAYS = 90
_BATCH = 100
_LAST_WORDS = (
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_OBSERVATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.ASSET_FAILED_TO_MATERIALIZE,
)


class RetentionConfig(dg.Config):
    """How long runs are kept."""

    keep_days: float = Field(KEEP_DAYS, ge=0, description="For how long after its end a run is kept, in days.")


@dg.op(description="Deletes the records and logs of old runs, but never the last word on an asset or a check.")
def delete_old_runs(context: dg.OpExecutionContext, config: RetentionConfig) -> None:
    """Delete runs batch by batch, and say how many went."""
    before = datetime.now(UTC) - timedelta(days=config.keep_days)
    old, kept = old_runs(context.instance, before)
    for first in range(0, len(old), _BATCH):
        for run_id in old[first : first + _BATCH]:
            delete_run(context.instance, run_id)
        context.log.info(f"{min(first + _BATCH, len(old))} of {len(old)} runs deleted")
    context.log.info(
        f"{len(old)} runs deleted that ended before {before:%Y-%m-%d %H:%M} UTC; "
        f"{kept} as old stay, because they hold the last word on an asset or a check"
    )


@dg.job(description="Deletes the records of runs that ended long ago; see its configuration.")
def forge_retention() -> None:
    """Delete old runs."""
    delete_old_runs()


def retention_definitions() -> dg.Definitions:
    """Return the job and its schedule, every day at 3:00."""
    schedule = dg.ScheduleDefinition(
        name="forge_retention_daily",
        job=forge_retention,
        cron_schedule="0 3 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Deletes the records of runs that ended over {KEEP_DAYS} days ago, every day at 3:00 (UTC).",
    )
    return dg.Definitions(jobs=[forge_retention], schedules=[schedule])


def old_runs(instance: dg.DagsterInstance, before: datetime) -> tuple[list[str], int]:
    """Return the runs that ended earlier and may go, oldest first, and how many as old must stay."""
    ended = dg.RunsFilter(statuses=list(FINISHED_STATUSES), updated_before=before)
    old: list[str] = []
    while page := instance.get_run_records(ended, limit=_BATCH, cursor=old[-1] if old else None, ascending=True):
        old += [record.dagster_run.run_id for record in page]
    holding = _runs_with_last_words(instance)
    may_go = [run_id for run_id in old if run_id not in holding]
    return may_go, len(old) - len(may_go)


def delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run with its events, and the logs of its steps."""
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    instance.delete_run(run_id)


def _runs_with_last_words(instance: dg.DagsterInstance) -> set[str]:
    """Return the runs with the last event of each kind of an asset's partition, and the last evaluation of a check.

    Dagster's API tells them for the assets and checks of one code location; the tables know those of all.
    """
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)
    events, checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
    last_events = (
        select(func.max(events.id))
        .where(events.dagster_event_type.in_([kind.value for kind in _LAST_WORDS]), events.asset_key.is_not(None))
        .group_by(events.asset_key, events.partition, events.dagster_event_type)
    )
    last_checks = select(func.max(checks.id)).group_by(
        checks.asset_key, checks.check_name, checks.partition, checks.execution_status
    )
    with storage.index_connection() as connection:
        rows = [
            *connection.execute(select(events.run_id).where(events.id.in_(last_events))),
            *connection.execute(select(checks.run_id).where(checks.id.in_(last_checks))),
        ]
    return {row[0] for row in rows}
