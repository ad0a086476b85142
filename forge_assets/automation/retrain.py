"""What a model's `retrain:` declares to Dagster: a schedule, sensors, a condition and a freshness policy."""

from collections.abc import Sequence
from datetime import timedelta

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from forge_assets.automation.config import RetrainConfig
from forge_assets.automation.documents import new_documents_sensor
from forge_assets.automation.runs import run_tags
from forge_pipelines.sources.config import SourceConfig


def retraining(
    model: str,
    config: RetrainConfig,
    assets: Sequence[dg.AssetsDefinition],
    job: UnresolvedAssetJobDefinition,
    sources: Sequence[SourceConfig],
) -> dg.Definitions:
    """Return a model's assets with its job and all that starts it.

    Args:
        model: the model's name.
        config: its `retrain:`.
        assets: its four assets; the last one is what must be fresh.
        job: makes them, and all that they are made from.
        sources: where its documents come from.
    """
    sensors = []
    if config.on_new_documents is not None:
        sensors.append(new_documents_sensor(model, sources, job, config.on_new_documents, config.sensor_status))
    if config.on_stale:
        sensors.append(_stale_sensor(model, assets, config.sensor_status))
    return dg.Definitions(
        assets=[
            *(_conditioned(asset, config) for asset in assets[:-1]),
            _fresh(_conditioned(assets[-1], config), config),
        ],
        jobs=[job],
        schedules=[] if config.cron is None else [_schedule(model, config.cron, config, job)],
        sensors=sensors,
    )


def stale_condition() -> dg.AutomationCondition:
    """Return a condition: an input has other data than before, and has passed its blocking checks.

    It is Dagster's `eager`, which looks at no check of an earlier run, and at updates that change nothing too.
    """
    condition = dg.AutomationCondition
    changed = condition.any_deps_match(
        (condition.data_version_changed() & ~condition.executed_with_root_target()) | condition.will_be_requested()
    ).with_label("an input has changed")
    eager = condition.eager().replace("any_deps_updated", changed)
    return (eager & condition.all_deps_blocking_checks_passed()).with_label("stale, and its inputs passed their checks")


def _schedule(model: str, cron: str, config: RetrainConfig, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=f"{model}_on_cron",
        job=job,
        cron_schedule=cron,
        execution_timezone=config.timezone,
        tags=run_tags(model, "cron"),
        default_status=config.schedule_status,
        description=f"Makes {model} again, {cron} ({config.timezone}).",
    )


def _stale_sensor(
    model: str, assets: Sequence[dg.AssetsDefinition], status: dg.DefaultSensorStatus
) -> dg.AutomationConditionSensorDefinition:
    return dg.AutomationConditionSensorDefinition(
        name=f"{model}_on_stale",
        target=dg.AssetSelection.assets(*assets),
        run_tags=run_tags(model, "stale"),
        default_status=status,
        description=f"Makes {model} again when what it is made from has changed and passed its checks.",
    )


def _conditioned(asset: dg.AssetsDefinition, config: RetrainConfig) -> dg.AssetsDefinition:
    if not config.on_stale:
        return asset
    return asset.map_asset_specs(lambda spec: spec.replace_attributes(automation_condition=stale_condition()))


def _fresh(asset: dg.AssetsDefinition, config: RetrainConfig) -> dg.AssetsDefinition:
    if config.fresh_within_hours is None:
        return asset
    policy = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=config.fresh_within_hours))
    return asset.map_asset_specs(lambda spec: spec.replace_attributes(freshness_policy=policy))
