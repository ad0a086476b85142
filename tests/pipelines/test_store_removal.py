"""What goes from the store goes whole, and what is asked for again stays, on a folder and on an object store."""

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from store_publisher import Make, request_of

from forge_pipelines.places import Remnant
from forge_pipelines.store import Store


@pytest.fixture(params=["folder", "s3"])
def removal_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    address = str(tmp_path / "store") if request.param == "folder" else request.getfixturevalue("s3_address")
    return Store(address, tmp_path / "scratch")


def files_of(store: Store) -> set[str]:
    """Every file that stands in a store, by its path."""
    import fsspec

    system, root = fsspec.core.url_to_fs(store.address)
    system.invalidate_cache()
    return {path[len(root) + 1 :] for path in system.find(root)} - {".staging/guard"}


def test_what_is_removed_is_gone_with_all_its_files_and_can_be_made_again(removal_store: Store) -> None:
    old, latest = (removal_store.obtain(request_of(number), Make(str(number))).manifest for number in range(2))
    removal_store.open(old)
    assert removal_store.remove(old)
    assert not removal_store.remove(old), "it was gone already"
    assert removal_store.find(request_of(0)) is None
    assert {path for path in files_of(removal_store) if old.key in path} == set()
    assert [damage for _, damage in removal_store.audit()] == [[]]
    assert removal_store.latest("handbook", "raw_documents") == latest
    again = removal_store.obtain(request_of(0), Make("0"))
    assert (again.fresh, again.manifest.fingerprint) == (True, old.fingerprint)
    assert removal_store.damage(again.manifest) == []


def test_the_latest_is_not_removed(removal_store: Store) -> None:
    manifest = removal_store.obtain(request_of(), Make()).manifest
    assert not removal_store.remove(manifest)
    assert removal_store.damage(manifest) == []


def test_pointers_name_the_latest_of_what_was_published(removal_store: Store) -> None:
    assert (removal_store.stages(), removal_store.pointers(["handbook/raw_documents"])) == (set(), {})
    for number in (1, 2):
        removal_store.obtain(request_of(number), Make(str(number)))
    assert removal_store.stages() == {"handbook/raw_documents"}
    asked = ["handbook/raw_documents", "never/raw_documents"]
    assert removal_store.pointers(asked) == {"handbook/raw_documents": request_of(2).key}


def test_what_is_asked_for_while_it_is_removed_stays_or_is_made_again(store: Store) -> None:
    """Two threads, one that asks and one that removes: whoever is told of a publication has it."""
    for round_number in range(30):
        manifest = store.obtain(request_of(0), Make("0")).manifest
        store.obtain(request_of(1), Make("1"))
        remover = threading.Thread(target=store.remove, args=[manifest])
        remover.start()
        asked = store.obtain(request_of(0), Make("0")).manifest
        remover.join()
        assert store.latest("handbook", "raw_documents") == asked, round_number
        assert store.damage(asked) == [], round_number


def test_files_that_a_removal_takes_from_an_upload_are_uploaded_again(s3_address: str, tmp_path: Path) -> None:
    store, other = (Store(s3_address, tmp_path / who) for who in ("one", "two"))
    old = other.obtain(request_of(0), Make("0")).manifest
    store.obtain(request_of(1), Make("1"))
    assert store.remove(old)
    place = store._place
    create = vars(type(place))["_create_manifest"]

    def create_late(target: str, manifest: bytes) -> bool:
        place.clear(Remnant("handbook", f"{target}/{old.fingerprint}", 0, datetime.now(UTC)))
        return bool(create(place, target, manifest))

    vars(place)["_create_manifest"] = create_late
    again = store.obtain(request_of(0), Make("0")).manifest
    assert again.fingerprint == old.fingerprint
    assert other.damage(again) == []


KILLED_WHILE_REMOVING = """
import os, signal, sys
from store_publisher import *
store = Store(sys.argv[1], Path(sys.argv[2]))
place, asked = store._place, []
def read(path, read=place.read):
    asked.append(path)
    if [path for path in asked if path.endswith("/latest")][1:]:
        os.kill(os.getpid(), signal.SIGKILL)  # after the step that makes it vanish, before its files go
    return read(path)
place.read = read
store.remove(store.find(request_of(0)))
"""


def test_kill_9_within_a_removal_leaves_nothing_half_there(removal_store: Store, tmp_path: Path) -> None:
    old, latest = (removal_store.obtain(request_of(number), Make(str(number))).manifest for number in range(2))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", KILLED_WHILE_REMOVING, removal_store.address, str(tmp_path / "scratch")]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    assert removal_store.find(request_of(0)) is None
    assert list(removal_store.manifests()) == [latest]
    assert [damage for _, damage in removal_store.audit()] == [[]]
    for remnant in removal_store.remnants():
        assert (remnant.name, remnant.num_bytes) == ("handbook", old.num_bytes)
        removal_store.clear(remnant)
    removal_store.obtain(request_of(2), Make("2"))
    assert {path for path in files_of(removal_store) if old.key in path or "removed" in path} == set()


def test_an_object_store_keeps_no_remnant_of_what_is_published(s3_address: str, tmp_path: Path) -> None:
    store = Store(s3_address, tmp_path / "scratch")
    store.obtain(request_of(), Make())
    assert list(store.remnants()) == []
