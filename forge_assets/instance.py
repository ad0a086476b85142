"""Dagster's home: FORGE_HOME, prepared; PostgreSQL behind it; and an environment in which nothing phones home."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

from forge_assets.attempts import ledger_of
from forge_assets.compute_logs import local_logs, remote_logs
from forge_assets.executor.workers import HOST_TAG, forget_finished, here, worker_of
from forge_assets.settings import Settings, exported
from forge_pipelines.ledger.addresses import Databases
from forge_pipelines.ledger.postgres import exclusive, postgres, writing_to
from forge_pipelines.processes import NOTHING_LEAVES

NOTHING_LEAVES_A_STEP = {
    **NOTHING_LEAVES,
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_DATASETS_OFFLINE": "1",
}


@contextmanager
def forge_environment(settings: Settings) -> Iterator[Databases]:
    """Have PostgreSQL run and FORGE_HOME prepared while the context lasts.

    This environment and that of its children name both, so that whatever Dagster starts finds the same settings.

    Raises:
        ConfigError: FORGE_POSTGRES_URL is no address.
        PlatformError: PostgreSQL cannot be reached or does not start; FORGE_HOME cannot be written.
    """
    with postgres(settings.home, settings.postgres_url) as databases:
        with writing_to(settings.home):
            settings.logs.mkdir(parents=True, exist_ok=True)
            _write_dagster_yaml(settings)
        with exported(_variables(settings, databases)):
            yield databases


@contextmanager
def dagster_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open Dagster's instance, its tables made and migrated, inside `forge_environment`.

    Raises:
        ConfigError: as `forge_environment`.
        PlatformError: as `forge_environment`.
    """
    with forge_environment(settings) as databases, open_instance(settings.home, databases) as instance:
        yield instance


@contextmanager
def open_instance(home: Path, databases: Databases) -> Iterator[dg.DagsterInstance]:
    """Open Dagster's instance inside a `forge_environment`; one process at a time makes and migrates its tables."""
    with exclusive(databases.dagster, "dagster tables"):
        instance = dg.DagsterInstance.from_config(str(home))
        found, current = instance.run_storage.alembic_version() or (None, None)
        if found != current:
            instance.upgrade()
    with instance:
        yield instance


def end_lost_runs(instance: dg.DagsterInstance, settings: Settings) -> None:
    """Report those runs of this machine and FORGE_HOME as failed whose processes are gone, and free what they held.

    A run that its code server had only begun to start has no process of its own yet: to be called while no code server
    of this FORGE_HOME lives.
    """
    unfinished = instance.get_runs(dg.RunsFilter(statuses=[*IN_PROGRESS_RUN_STATUSES], tags={HOST_TAG: here()}))
    for run in unfinished:
        worker = worker_of(settings.home, run.run_id)
        if worker is None or worker.state == "gone":
            instance.report_run_failed(run, "the process that ran this was killed; run it again, it goes on from here")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            ledger_of(settings).lose(run.run_id)
    forget_finished(settings.home, {run.run_id for run in unfinished})


def _variables(settings: Settings, databases: Databases) -> Mapping[str, str]:
    return {
        **NOTHING_LEAVES_A_STEP,
        "DAGSTER_HOME": str(settings.home),
        "FORGE_HOME": str(settings.home),
        "FORGE_STORE": settings.store,
        "FORGE_CACHE": str(settings.cache),
        "FORGE_POSTGRES_URL": databases.forge,
        "FORGE_MLFLOW_URL": settings.mlflow_url or "",
        "FORGE_DEFINITIONS": settings.definitions,
        "FORGE_GPU_LEASES": str(settings.gpu_leases),
        "FORGE_GPU_INVENTORY": str(settings.gpu_inventory or ""),
        "FORGE_KUBERNETES": str(settings.kubernetes or ""),
        "FORGE_LOGS": settings.logs_url or "",
    }


def _write_dagster_yaml(settings: Settings) -> None:
    wanted, target = Path(__file__).with_name("dagster.yaml").read_text(), settings.home / "dagster.yaml"
    logs = (
        local_logs(settings.home)
        if settings.logs_url is None
        else remote_logs(settings.logs_url, settings.cache, settings.logs_endpoint)
    )
    wanted += "\n" + yaml.safe_dump(logs)
    if not target.exists() or target.read_text() != wanted:
        unfinished = target.with_suffix(".unfinished")
        unfinished.write_text(wanted)
        unfinished.replace(target)
