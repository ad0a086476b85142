"""The runs that have not ended: what they make, and what of that is still ahead of them."""

from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

_STARTING = [dg.DagsterRunStatus.QUEUED, *IN_PROGRESS_RUN_STATUSES]
_PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
_ENDED = {dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.STEP_SKIPPED}


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A run that is queued or in progress.

    Attributes:
        made: the assets that it is to make, those that it has made among them.
        ahead: those whose step has not ended.
    """

    run_id: str
    since: datetime
    made: frozenset[dg.AssetKey]
    ahead: frozenset[dg.AssetKey]


def unfinished_runs(instance: dg.DagsterInstance) -> list[Unfinished]:
    """Return every run that is queued or in progress."""
    records = instance.get_run_records(dg.RunsFilter(statuses=_STARTING))
    return [_unfinished(record, instance) for record in records]


def _unfinished(record: dg.RunRecord, instance: dg.DagsterInstance) -> Unfinished:
    run_id = record.dagster_run.run_id
    planned, ended = {}, set()
    for event_record in instance.get_records_for_run(run_id, of_type={_PLANNED, *_ENDED}).records:
        event = event_record.event_log_entry.get_dagster_event()
        if event.event_type == _PLANNED:
            planned[event.asset_key] = event.step_key
        else:
            ended.add(event.step_key)
    return Unfinished(
        run_id=run_id,
        since=record.create_timestamp.astimezone(UTC),
        made=frozenset(key for key in planned if key),
        ahead=frozenset(key for key, step in planned.items() if key and step not in ended),
    )
