"""What the artifact store promises, on a folder and on an object store."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import pytest
from store_publisher import FILES, Make, request_of

from forge_pipelines.errors import DataError, PlatformError
from forge_pipelines.manifest import Classification, Manifest
from forge_pipelines.store import Made, Store

ROUNDS = 50 if os.environ.get("FORGE_SOAK") else 10
PUBLISHER = str(Path(__file__).parent / "store_publisher.py")


@pytest.fixture(params=["folder", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "store")
    s3_address: str = request.getfixturevalue("s3_address")
    return s3_address


@pytest.fixture
def any_store(address: str, tmp_path: Path) -> Store:
    return Store(address, tmp_path / "scratch")


def files_below(address: str) -> dict[str, bytes]:
    """Every file of a store, by its path."""
    import fsspec

    system, root = fsspec.core.url_to_fs(address)
    system.invalidate_cache()
    return {path[len(root) + 1 :]: system.cat_file(path) for path in system.find(root)}


def overwrite(address: str, path: str, content: bytes) -> None:
    import fsspec

    system, root = fsspec.core.url_to_fs(address, **({} if "://" in address else {"auto_mkdir": True}))
    system.pipe_file(f"{root}/{path}", content)


def stored_path(manifest: Manifest, store: Store, name: str) -> str:
    return f"{store.address_of(manifest)}/{name}".removeprefix(f"{store.address}/")


def refuse(_folder: Path) -> Made:
    pytest.fail("worked again on what is published")


def test_what_is_published_is_found_and_not_made_again(any_store: Store) -> None:
    make = Make()
    first = any_store.obtain(request_of(), make)
    second = any_store.obtain(request_of(), make)
    assert (first.fresh, second.fresh, make.calls) == (True, False, 1)
    assert second.manifest == first.manifest == any_store.find(request_of())
    assert (any_store.open(first.manifest) / "part/b.txt").read_text() == "text" * 5000


def test_another_request_is_another_publication(any_store: Store) -> None:
    made = [any_store.obtain(request_of(number), Make(str(number))).manifest for number in range(3)]
    assert len({manifest.fingerprint for manifest in made}) == 3
    assert {manifest.key for manifest in any_store.manifests("handbook")} == {manifest.key for manifest in made}
    assert list(any_store.manifests("another_name")) == []


def test_the_same_work_has_the_same_fingerprint_in_every_store(address: str, tmp_path: Path) -> None:
    here = Store(address, tmp_path / "scratch").obtain(request_of(), Make()).manifest
    there = Store(str(tmp_path / "elsewhere"), tmp_path / "scratch").obtain(request_of(), Make()).manifest
    assert here.fingerprint == there.fingerprint


def test_latest_follows_what_was_asked_last(any_store: Store) -> None:
    with pytest.raises(DataError, match="handbook/raw_documents was never made"):
        any_store.latest("handbook", "raw_documents")
    for number in (1, 2, 1):
        manifest = any_store.obtain(request_of(number), Make(str(number))).manifest
        assert any_store.latest("handbook", "raw_documents") == manifest


def test_an_exception_in_the_middle_publishes_nothing(any_store: Store) -> None:
    def make(folder: Path) -> Made:
        Make()(folder)
        raise DataError("every document was rejected")

    with pytest.raises(DataError, match="every document was rejected"):
        any_store.obtain(request_of(), make)
    assert files_below(any_store.address).keys() <= {".staging/guard"}


def test_a_flipped_byte_is_named_and_refused(any_store: Store) -> None:
    manifest = any_store.obtain(request_of(), Make()).manifest
    path = stored_path(manifest, any_store, "part/b.txt")
    content = bytearray(files_below(any_store.address)[path])
    content[7] ^= 1
    overwrite(any_store.address, path, bytes(content))
    with pytest.raises(DataError, match=r"handbook/raw_documents .*part/b\.txt does not match its SHA-256"):
        any_store.open(manifest)
    assert len(any_store.damage(manifest)) == 1
    assert any_store.address in any_store.damage(manifest)[0]


def test_a_missing_file_is_named_and_refused(any_store: Store) -> None:
    import fsspec

    manifest = any_store.obtain(request_of(), Make()).manifest
    fsspec.core.url_to_fs(any_store.address)[0].rm(f"{any_store.address_of(manifest)}/a.txt")
    with pytest.raises(DataError, match=r"a\.txt is missing"):
        any_store.open(manifest)


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-100], lambda content: content.replace(b'"files"', b'"F"')]
)
def test_a_damaged_manifest_is_refused(any_store: Store, damage: Any) -> None:
    manifest = any_store.obtain(request_of(), Make()).manifest
    path = f"handbook/raw_documents/{manifest.key}/manifest.json"
    overwrite(any_store.address, path, damage(files_below(any_store.address)[path]))
    with pytest.raises(DataError, match=r"manifest\.json .*restore it from backup"):
        any_store.obtain(request_of(), refuse)


def test_a_manifest_that_was_altered_is_refused(any_store: Store) -> None:
    manifest = any_store.obtain(request_of(), Make()).manifest
    path = f"handbook/raw_documents/{manifest.key}/manifest.json"
    overwrite(any_store.address, path, files_below(any_store.address)[path].replace(b'"internal"', b'"public"'))
    with pytest.raises(DataError, match="does not match its own fingerprint"):
        any_store.find(request_of())


def test_a_manifest_in_the_place_of_another_is_refused(any_store: Store) -> None:
    manifest = any_store.obtain(request_of(), Make()).manifest
    content = files_below(any_store.address)[f"handbook/raw_documents/{manifest.key}/manifest.json"]
    overwrite(any_store.address, f"handbook/raw_documents/{request_of(1).key}/manifest.json", content)
    with pytest.raises(DataError, match="does not match its own fingerprint or place"):
        any_store.find(request_of(1))


def test_a_corrupted_local_copy_is_fetched_anew_and_not_blamed_on_the_store(s3_address: str, tmp_path: Path) -> None:
    store = Store(s3_address, tmp_path / "scratch")
    manifest = store.obtain(request_of(), Make()).manifest
    copy = store.open(manifest)
    (copy / "a.txt").write_text("nonsense")
    (copy / "part/b.txt").unlink()
    assert store.damage(manifest) == []
    assert (store.open(manifest) / "a.txt").read_text() == "text" * 5000


def test_what_a_killed_upload_left_is_removed_by_the_next_publication(s3_address: str, tmp_path: Path) -> None:
    overwrite(s3_address, f"handbook/raw_documents/{request_of().key}/{'0' * 64}/a.txt", b"half an upload")
    store = Store(s3_address, tmp_path / "scratch")
    assert list(store.manifests()) == []
    manifest = store.obtain(request_of(), Make()).manifest
    assert {path for path in files_below(s3_address) if "0" * 64 in path} == set()
    assert store.damage(manifest) == []


@pytest.mark.parametrize("address", ["s3"], indirect=True)
@pytest.mark.parametrize("wrong", [{"AWS_SECRET_ACCESS_KEY": "wrong"}, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}])
def test_an_object_store_that_refuses_is_one_sentence(address: str, wrong: dict[str, str], tmp_path: Path) -> None:
    code = (
        "import sys; from store_publisher import *\n"
        "try: Store(sys.argv[1], Path(sys.argv[2])).obtain(request_of(), Make())\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    environment = {**os.environ, **wrong, "PYTHONPATH": str(Path(__file__).parent), "AWS_MAX_ATTEMPTS": "1"}
    command = [sys.executable, "-c", code, address, str(tmp_path)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.startswith(f"PlatformError the object store {address} does not answer as it must (")


def test_a_full_disk_is_one_sentence_and_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    store = Store(str(small_disk / "store"), tmp_path / "scratch")
    kept = store.obtain(request_of(0), Make("k")).manifest

    def fill(folder: Path) -> Made:
        (folder / "large.bin").write_bytes(os.urandom(4 << 20))
        return Made({}, Classification.PUBLIC)

    with pytest.raises(PlatformError, match=f"handbook/raw_documents: the disk that holds {small_disk}/store is full"):
        store.obtain(request_of(1), fill)
    assert store.find(request_of(1)) is None
    assert [path.name for path in (small_disk / "store/.staging").iterdir()] == ["guard"]
    assert store.latest("handbook", "raw_documents") == kept
    assert store.obtain(request_of(1), Make("s")).fresh


def test_what_is_published_is_found_on_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    store = Store(str(small_disk / "store"), tmp_path / "scratch")
    store.obtain(request_of(), Make("k"))
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "rest.bin").write_bytes(os.urandom(4 << 20))
    assert store.open(store.obtain(request_of(), refuse).manifest).is_dir()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PlatformError, match=r"file/\.staging cannot be written"):
        Store(str(tmp_path / "file"), tmp_path / "scratch").obtain(request_of(), Make())


def test_kill_9_while_staging_leaves_nothing_and_the_next_publication_sweeps_it(address: str, tmp_path: Path) -> None:
    code = (
        "import sys, time; from store_publisher import *\n"
        "def make(folder):\n Make()(folder); print(folder, flush=True); time.sleep(600)\n"
        "Store(sys.argv[1], Path(sys.argv[2])).obtain(request_of(), make)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", code, address, str(tmp_path / "scratch")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        staging = Path(victim.stdout.readline().strip())
        victim.send_signal(signal.SIGKILL)
    assert (staging / "a.txt").exists()
    store = Store(address, tmp_path / "scratch")
    assert store.find(request_of()) is None
    assert list(store.manifests()) == []
    assert store.obtain(request_of(), Make()).fresh
    assert [path.name for path in staging.parent.iterdir()] == ["guard"]


def test_a_living_publication_is_never_swept(any_store: Store) -> None:
    def make(folder: Path) -> Made:
        any_store.obtain(request_of(1), Make())
        return Make()(folder)

    assert any_store.obtain(request_of(0), make).fresh


def test_a_workspace_outlives_a_failure_and_is_no_publication(any_store: Store) -> None:
    (any_store.workspace(request_of()) / "half").write_text("done")
    assert (any_store.workspace(request_of()) / "half").read_text() == "done"
    assert list(any_store.manifests()) == []


def start_publisher(address: str, scratch: Path, who: str) -> "subprocess.Popen[str]":
    command = [sys.executable, PUBLISHER, address, str(scratch), str(ROUNDS), who]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def say_go(publisher: "subprocess.Popen[str]") -> None:
    stdin: IO[str] | None = publisher.stdin
    assert stdin is not None
    stdin.write("\n")
    stdin.flush()


def hear(publisher: "subprocess.Popen[str]") -> str:
    assert publisher.stdout is not None
    return publisher.stdout.readline().strip()


def read_all_the_time(store: Store, stop: threading.Event) -> int:
    """Open whatever is published, over and over; return how many times."""
    opened = 0
    while not stop.is_set():
        for manifest in store.manifests():
            folder = store.open(manifest)
            assert len({(folder / name).read_text() for name in FILES}) == 1
            opened += 1
    return opened


def test_two_publishers_at_once_make_one_publication_and_no_reader_sees_half(address: str, tmp_path: Path) -> None:
    stop = threading.Event()
    publishers = [start_publisher(address, tmp_path / who, who) for who in ("one", "two")]
    with ThreadPoolExecutor() as threads:
        reader = threads.submit(read_all_the_time, Store(address, tmp_path / "reader"), stop)
        try:
            for _ in range(ROUNDS):
                assert [hear(publisher) for publisher in publishers] == ["ready", "ready"]
                for publisher in publishers:
                    say_go(publisher)
                results = [hear(publisher).split() for publisher in publishers]
                assert sorted(fresh for fresh, _ in results) == ["False", "True"]
                assert len({fingerprint for _, fingerprint in results}) == 1
        finally:
            stop.set()
            for publisher in publishers:
                publisher.kill()
                publisher.communicate()
        assert reader.result() > 0
    stored = [path for path in files_below(address) if not path.startswith(".staging")]
    assert len(stored) == ROUNDS * (len(FILES) + 1) + 1
    for who in ("one", "two"):
        shutil.rmtree(tmp_path / who, ignore_errors=True)


def test_an_audit_goes_on_past_what_is_damaged(store: Store) -> None:
    unreadable, changed, sound = (store.obtain(request_of(number), Make()).manifest for number in range(3))
    Path(store.address_of(unreadable), "manifest.json").write_text("{")
    Path(store.address_of(changed), "a.txt").write_text("other")
    found = {target.rpartition("/")[2]: damage for target, damage in store.audit()}
    assert "cannot be read" in found[unreadable.key][0]
    assert "a.txt" in found[changed.key][0]
    assert found[sound.key] == []
