"""Dagster's instance on PostgreSQL, in FORGE_HOME, with nothing that phones home."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import psycopg2
import pytest
import yaml
from dagster_postgres import PostgresRunStorage

from forge_assets.executor.workers import HOST_TAG, here, working
from forge_assets.instance import dagster_instance, end_lost_runs, forge_environment
from forge_assets.settings import Settings, exported
from forge_pipelines.errors import PlatformError

ROOT = Path(__file__).parent.parent.parent
OLD_SCHEMA = "7e2f3204cf8e"


@dg.asset
def answer() -> int:
    return 42


def test_runs_are_kept_in_postgresql_and_files_below_forge_home(settings: Settings) -> None:
    before = dict(os.environ)
    with dagster_instance(settings) as instance:
        assert isinstance(instance.run_storage, PostgresRunStorage)
        assert not instance.telemetry_enabled
        assert instance.run_monitoring_enabled
        assert type(instance.run_coordinator).__name__ == "QueuedRunCoordinator"
        run_id = dg.materialize([answer], instance=instance).run_id
        assert (settings.home / "storage" / run_id).is_dir()
    assert dict(os.environ) == before
    with dagster_instance(settings) as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.is_success


def test_children_find_the_same_settings_and_the_same_instance(settings: Settings) -> None:
    child = """
import dagster as dg
from forge_assets.settings import load_settings
print(load_settings().model_dump_json())
with dg.DagsterInstance.get() as instance:
    print(instance.get_runs_count(), instance.telemetry_enabled)
"""
    with forge_environment(settings) as databases:
        said = subprocess.check_output([sys.executable, "-c", child], text=True).splitlines()
    assert Settings.model_validate_json(said[0]) == settings.model_copy(update={"postgres_url": databases.forge})
    assert said[1] == "0 False"


def test_an_old_schema_is_migrated(settings: Settings) -> None:
    with forge_environment(settings) as databases, dagster_instance(settings) as instance:
        _, current = instance.run_storage.alembic_version() or ("", "")
        assert current != OLD_SCHEMA
        with psycopg2.connect(databases.dagster) as connection, connection.cursor() as cursor:
            cursor.execute("UPDATE alembic_version SET version_num = %s", (OLD_SCHEMA,))
        connection.close()
        with dagster_instance(settings) as migrated:
            assert migrated.run_storage.alembic_version() == (current, current)


def test_dagster_yaml_in_forge_home_is_always_the_one_of_this_version(settings: Settings) -> None:
    with forge_environment(settings):
        pass
    target = settings.home / "dagster.yaml"
    assert target.read_text().startswith((ROOT / "dagster.yaml").read_text())
    assert yaml.safe_load(target.read_text())["compute_logs"]["config"] == {"base_dir": str(settings.home / "storage")}
    target.write_text("telemetry: {enabled: true}")
    with forge_environment(settings):
        assert yaml.safe_load(target.read_text())["telemetry"] == {"enabled": False}


def test_a_server_that_cannot_be_reached_is_one_sentence(settings: Settings) -> None:
    unreachable = settings.model_copy(update={"postgres_url": "postgresql://forge:secret@127.0.0.1:1/forge"})
    sentence = r"^PostgreSQL at 127\.0\.0\.1:1/forge cannot be reached"
    with pytest.raises(PlatformError, match=sentence), dagster_instance(unreachable):
        pass


def test_a_new_home_works_on_a_named_server(settings: Settings, tmp_path: Path) -> None:
    with forge_environment(settings) as databases:
        new = settings.model_copy(update={"home": tmp_path / "new" / "home", "postgres_url": databases.forge})
        with dagster_instance(new) as instance:
            assert instance.root_directory == str(new.home)
    assert sorted(path.name for path in new.home.iterdir()) == ["dagster.yaml", "logs"]


def test_a_home_that_cannot_be_written_is_one_sentence(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    below_a_file = settings.model_copy(update={"home": tmp_path / "file" / "home"})
    sentence = r"^FORGE_HOME .* cannot be written \(Not a directory\): "
    with pytest.raises(PlatformError, match=sentence), forge_environment(below_a_file):
        pass


def test_a_run_whose_process_is_gone_is_ended_and_one_that_lives_goes_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORGE_HOME", str(settings.home))
    with dagster_instance(settings) as instance:
        job = dg.define_asset_job("job").resolve(asset_graph=dg.Definitions([answer]).resolve_asset_graph())
        tags = {HOST_TAG: here()}
        lost = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
        lives = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
        elsewhere = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags={HOST_TAG: "other:/home"})
        with working(settings.home, lives.run_id):
            end_lost_runs(instance, settings)
        found = [instance.get_run_by_id(run.run_id) for run in (lost, lives, elsewhere)]
        assert [run and run.status.value for run in found] == ["FAILURE", "STARTED", "STARTED"]


def test_the_workspace_of_the_checkout_names_forges_definitions() -> None:
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())
    assert workspace["load_from"][0]["python_module"]["module_name"] == "forge_assets.definitions"


def test_dagsters_own_commands_find_postgresql_by_themselves(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text((Path(__file__).parents[2] / "dagster.yaml").read_text())
    with exported({"FORGE_HOME": str(home)}), dg.DagsterInstance.from_config(str(home)) as instance:
        gc.collect()
        assert instance.get_runs() == []
