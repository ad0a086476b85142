"""Dagster's home: FORGE_HOME, prepared; PostgreSQL behind it; and an environment in which nothing phones home."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES
from dagster._core.storage.tags import GRPC_INFO_TAG

from forge_assets.settings import Settings, exported
from forge_pipelines.ledger.addresses import Databases
from forge_pipelines.ledger.postgres import exclusive, postgres, writing_to

_NOTHING_LEAVES = {
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
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
            _write_dagster_yaml(settings.home)
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


def end_lost_runs(instance: dg.DagsterInstance) -> None:
    """Report those runs as failed that a code server had and that it took with it: nobody else ever would.

    To be called while no code server of this instance lives.
    """
    unfinished = dg.RunsFilter(statuses=[*IN_PROGRESS_RUN_STATUSES])
    for run in instance.get_runs(unfinished):
        if GRPC_INFO_TAG in run.tags:
            instance.report_run_failed(
                run, "the `forge up` that ran this ended first; run it again, it goes on from here"
            )


def _variables(settings: Settings, databases: Databases) -> Mapping[str, str]:
    return {
        **_NOTHING_LEAVES,
        "DAGSTER_HOME": str(settings.home),
        "FORGE_HOME": str(settings.home),
        "FORGE_STORE": settings.store,
        "FORGE_CACHE": str(settings.cache),
        "FORGE_POSTGRES_URL": databases.forge,
        "FORGE_MLFLOW_URL": settings.mlflow_url or "",
        "FORGE_DEFINITIONS": settings.definitions,
    }


def _write_dagster_yaml(home: Path) -> None:
    wanted, target = Path(__file__).with_name("dagster.yaml").read_text(), home / "dagster.yaml"
    if not target.exists() or target.read_text() != wanted:
        unfinished = home / "dagster.yaml.unfinished"
        unfinished.write_text(wanted)
        unfinished.replace(target)
