"""Nothing published is ever lost: what was never reported to Dagster is, once, and without reading the store again."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from s3fs import S3FileSystem

from forge_assets.automation.reconcile import forge_reconciler
from forge_assets.cli.reconcile import reconcile
from forge_assets.instance import dagster_instance
from forge_assets.metadata import materialization
from forge_assets.resources import StoreResource
from forge_assets.settings import load_settings
from forge_pipelines.manifest import Classification, Manifest, StageRequest
from forge_pipelines.store import Made, Publication, Store

SMALL_PROJECT = """
import dagster as dg
from forge_assets.automation.reconcile import forge_reconciler

@dg.asset(key=["handbook", "raw_documents"])
def raw_documents() -> None: ...

defs = dg.Definitions(assets=[raw_documents], sensors=[forge_reconciler], resources={"forge_store": None})
"""

Tick = Callable[[str | None], tuple[list[str], str | None, str]]


def publish(store: Store, name: str, content: str = "text") -> Publication:
    def make(folder: Path) -> Made:
        (folder / "documents.txt").write_text(content)
        return Made({"documents": 1}, Classification.INTERNAL)

    request = StageRequest(
        kind="raw_documents", name=name, inputs={}, parameters={"content": content}, code_version="1"
    )
    return store.obtain(request, make)


def asset_of(name: str) -> dg.AssetsDefinition:
    @dg.asset(key=[name, "raw_documents"])
    def raw_documents(forge_store: StoreResource) -> dg.MaterializeResult:
        store = forge_store.open()
        return materialization(publish(store, name), store, {})

    return raw_documents


@pytest.fixture
def resource(tmp_path: Path) -> StoreResource:
    return StoreResource(address=str(tmp_path / "store"), scratch=str(tmp_path / "scratch"))


@pytest.fixture
def definitions(resource: StoreResource) -> dg.Definitions:
    assets = [asset_of("handbook"), asset_of("letters")]
    return dg.Definitions(assets=assets, sensors=[forge_reconciler], resources={"forge_store": resource})


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@pytest.fixture
def tick(definitions: dg.Definitions, resource: StoreResource, instance: dg.DagsterInstance) -> Tick:
    """Evaluate the sensor, and report what it asks the daemon to report."""

    def evaluate(cursor: str | None) -> tuple[list[str], str | None, str]:
        context = dg.build_sensor_context(
            instance=instance,
            cursor=cursor,
            repository_def=definitions.get_repository_def(),
            resources={"forge_store": resource},
        )
        found = forge_reconciler.evaluate_tick(context)
        for event in found.asset_events:
            instance.report_runless_asset_event(event)
        return (
            [event.asset_key.to_user_string() for event in found.asset_events],
            found.cursor,
            found.skip_message or "",
        )

    return evaluate


def last(instance: dg.DagsterInstance, name: str) -> dg.AssetMaterialization:
    event = instance.get_latest_materialization_event(dg.AssetKey([name, "raw_documents"]))
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization


def damage(store: Store, manifest: Manifest) -> None:
    Path(store.address_of(manifest), "manifest.json").write_text("{")


def test_what_was_never_reported_is_reported_once(store: Store, tick: Tick, instance: dg.DagsterInstance) -> None:
    manifest = publish(store, "handbook").manifest
    reported, cursor, _ = tick(None)
    assert reported == ["handbook/raw_documents"]
    found = last(instance, "handbook")
    assert found.tags is not None
    assert found.tags[DATA_VERSION_TAG] == manifest.fingerprint
    assert found.metadata["forge/fingerprint"].value == manifest.fingerprint
    assert found.metadata["forge/reconciled"].value is True
    assert found.metadata["documents"].value == 1
    assert tick(cursor)[0] == []
    assert tick(None)[0] == [], "without its cursor it finds the same"


def test_a_publication_that_has_not_changed_is_not_read_again(store: Store, tick: Tick) -> None:
    manifest = publish(store, "handbook").manifest
    _, cursor, _ = tick(None)
    damage(store, manifest)
    reported, again, said = tick(cursor)
    assert (reported, again, said) == ([], cursor, "1 published stages are reported")


def test_a_damaged_manifest_is_named_and_does_not_stop_the_others(
    store: Store, tick: Tick, capfd: pytest.CaptureFixture[str]
) -> None:
    damage(store, publish(store, "handbook").manifest)
    publish(store, "letters")
    reported, cursor, _ = tick(None)
    assert reported == ["letters/raw_documents"]
    assert "handbook/raw_documents" in capfd.readouterr().err
    assert json.loads(cursor or "").keys() == {"letters/raw_documents"}, "it is looked at again"


def test_what_an_asset_has_reported_itself_is_not_reported_again(
    definitions: dg.Definitions, tick: Tick, instance: dg.DagsterInstance
) -> None:
    definitions.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
    assert tick(None)[0] == []


def test_a_run_afterwards_finds_its_work_done(
    store: Store, definitions: dg.Definitions, tick: Tick, instance: dg.DagsterInstance
) -> None:
    publish(store, "handbook")
    _, cursor, _ = tick(None)
    definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey(["handbook", "raw_documents"])]
    )
    assert last(instance, "handbook").metadata["forge/worked"].value is False
    assert tick(cursor)[0] == []


def test_what_is_asked_for_again_after_something_newer_is_reported_again(
    store: Store, tick: Tick, instance: dg.DagsterInstance
) -> None:
    cursor = None
    for content in ("one", "two", "one"):
        manifest = publish(store, "handbook", content).manifest
        reported, cursor, _ = tick(cursor)
        assert reported == ["handbook/raw_documents"]
        assert (last(instance, "handbook").tags or {})[DATA_VERSION_TAG] == manifest.fingerprint


def test_what_a_run_in_progress_has_still_to_report_is_left_to_it(
    store: Store, definitions: dg.Definitions, tick: Tick, instance: dg.DagsterInstance
) -> None:
    publish(store, "handbook")
    job = definitions.resolve_implicit_global_asset_job_def()
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    reported, cursor, _ = tick(None)
    assert reported == []
    instance.report_run_failed(run)
    assert tick(cursor)[0] == ["handbook/raw_documents"]


def test_an_object_store_that_is_away_is_a_skip_that_forgets_nothing(
    definitions: dg.Definitions, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    away = StoreResource(address="s3://forge/away", scratch=str(tmp_path))
    context = dg.build_sensor_context(
        instance=instance,
        cursor='{"a/b": "c"}',
        repository_def=definitions.get_repository_def(),
        resources={"forge_store": away},
    )
    S3FileSystem.clear_instance_cache()
    found = forge_reconciler.evaluate_tick(context)
    S3FileSystem.clear_instance_cache()  # what other tests open has another account
    assert (found.skip_message or "").startswith("the object store s3://forge/away does not answer as it must")
    assert found.cursor == '{"a/b": "c"}'


def test_forge_reconcile_reports_on_postgresql_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in os.environ:
        if name.startswith("FORGE_"):
            monkeypatch.delenv(name)
    (tmp_path / "small_reconciled_project.py").write_text(SMALL_PROJECT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FORGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FORGE_DEFINITIONS", "small_reconciled_project")
    settings = load_settings()
    store = Store(settings.store, tmp_path / "scratch")
    manifest = publish(store, "handbook").manifest
    assert reconcile(settings) == 0
    assert capsys.readouterr().out == f"reported handbook/raw_documents {manifest.fingerprint[:12]}\n"
    assert reconcile(settings) == 0
    assert capsys.readouterr().out == "nothing was missing: 1 published stages are reported\n"
    publish(store, "strange")
    assert reconcile(settings) == 0
    assert "passed over strange/raw_documents: no asset of small_reconciled_project" in capsys.readouterr().out
    with dagster_instance(settings) as instance:
        assert (last(instance, "handbook").tags or {})[DATA_VERSION_TAG] == manifest.fingerprint
    damage(store, manifest)
    assert reconcile(settings) == 1
    sys.modules.pop("small_reconciled_project")
