"""What is published and was never reported to Dagster, because whatever made it ended in between, is reported."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from forge_assets.automation.unfinished import unfinished_runs
from forge_assets.metadata import materialization
from forge_assets.resources import StoreResource
from forge_pipelines.errors import DataError, PlatformError
from forge_pipelines.manifest import Manifest
from forge_pipelines.store import Publication, Store

_SECONDS_BETWEEN_LOOKS = 30


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at the store found.

    Attributes:
        missing: what is to be reported.
        settled: the latest key of each ``<name>/<kind>`` that needs no second look.
        damage: a sentence for each manifest that cannot be read.
    """

    missing: tuple[dg.AssetMaterialization, ...]
    settled: Mapping[str, str]
    damage: tuple[str, ...]


def find_missing(
    store: Store, instance: dg.DagsterInstance, assets: Collection[dg.AssetKey], settled: Mapping[str, str]
) -> Found:
    """Find the latest of every stage that is not the last materialization of its asset.

    What a run in progress has still to report is left to it.

    Args:
        store: what is published.
        instance: what Dagster knows.
        assets: all that the definitions can make.
        settled: what an earlier look found; only what has changed since is read.

    Raises:
        PlatformError: the store cannot be reached.
    """
    latest = store.pointers(stages_of(assets))
    changed = [stage for stage, key in latest.items() if settled.get(stage) != key]
    ahead = {asset for run in unfinished_runs(instance) for asset in run.ahead} if changed else set()
    recorded = _recorded(instance, changed) if changed else {}
    missing, damage, waiting = [], [], set()
    for stage in changed:
        try:
            manifest = store.latest(*stage.split("/"))
        except DataError as error:
            damage.append(str(error))
            waiting.add(stage)
            continue
        if _asset(stage) in ahead or manifest.key != latest[stage]:
            waiting.add(stage)
        elif recorded.get(stage) != manifest.fingerprint:
            missing.append(report_of(manifest, store))
    return Found(
        missing=tuple(missing),
        settled={stage: key for stage, key in latest.items() if stage not in waiting},
        damage=tuple(damage),
    )


def report_of(manifest: Manifest, store: Store) -> dg.AssetMaterialization:
    """Say to Dagster what the asset itself would have said of a publication, as far as the manifest knows it."""
    publication = Publication(manifest, fresh=True, seconds=manifest.made_in_seconds)
    told = materialization(publication, store, {"forge/reconciled": True})
    return dg.AssetMaterialization(
        asset_key=_asset(f"{manifest.name}/{manifest.kind}"),
        metadata=told.metadata,
        tags={DATA_VERSION_TAG: manifest.fingerprint},
        description="Found in the store: what made it ended before it could report it.",
    )


@dg.sensor(
    name="forge_reconciler",
    description="Reports what is published and was never reported, because whatever made it ended in between.",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=_SECONDS_BETWEEN_LOOKS,
)
def forge_reconciler(context: dg.SensorEvaluationContext, forge_store: StoreResource) -> dg.SensorResult:
    """Look at what the store's pointers say, and read only what has changed since the last look."""
    assert context.repository_def is not None
    assets = context.repository_def.asset_graph.materializable_asset_keys
    settled = json.loads(context.cursor) if context.cursor else {}
    try:
        found = find_missing(forge_store.open(), context.instance, assets, settled)
    except PlatformError as error:
        return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)
    for sentence in found.damage:
        context.log.error(sentence)
    for event in found.missing:
        context.log.info(f"{event.asset_key.to_user_string()} was published and never reported; it is now")
    cursor = json.dumps(found.settled, sort_keys=True)
    if found.missing:
        return dg.SensorResult(asset_events=found.missing, cursor=cursor)
    return dg.SensorResult(skip_reason=f"{len(found.settled)} published stages are reported", cursor=cursor)


def stages_of(assets: Iterable[dg.AssetKey]) -> list[str]:
    """Return the ``<name>/<kind>`` that assets are published under; some of a company's own may be none."""
    return sorted("/".join(asset.path) for asset in assets if len(asset.path) == 2)


def _asset(stage: str) -> dg.AssetKey:
    return dg.AssetKey(stage.split("/"))


def _recorded(instance: dg.DagsterInstance, stages: Sequence[str]) -> Mapping[str, str]:
    """Return the data versions of the last materializations that there are, in one question."""
    events = [
        record.asset_entry.last_materialization
        for record in instance.get_asset_records([_asset(stage) for stage in stages])
    ]
    found = [event.asset_materialization for event in events if event and event.asset_materialization]
    return {"/".join(last.asset_key.path): (last.tags or {}).get(DATA_VERSION_TAG, "") for last in found}
