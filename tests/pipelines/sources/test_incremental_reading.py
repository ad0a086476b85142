"""A file is read once: what has not changed costs nothing, and what a killed run had read is not read again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from place_in_memory import PlaceInMemory

from forge_pipelines.errors import PlatformError
from forge_pipelines.manifest import Document, Manifest, Rejection
from forge_pipelines.sources import readings, survey
from forge_pipelines.sources.config import ReadingLimits, SourceConfig
from forge_pipelines.sources.guarded.crew import read_guarded
from forge_pipelines.sources.place import Refusal
from forge_pipelines.sources.stage import read_place, read_source
from forge_pipelines.store import Store

Configure = Callable[..., SourceConfig]
Contents = Callable[[Manifest], tuple[dict[str, Document], dict[str, Rejection]]]
ROUNDS = 50 if os.environ.get("FORGE_SOAK") else 1

# A run that reads the folder of its first argument into the store below its second.
RUN = """
import sys
from pathlib import Path
from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.sources.stage import read_source
from forge_pipelines.store import Store

config = SourceConfig.model_validate_json(sys.argv[1])
def tell(progress):
    print(progress.stage, int(progress.done), progress.message, flush=True)
print(read_source(config, Store(sys.argv[2], Path(sys.argv[3])), tell).manifest.fingerprint, flush=True)
"""


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every content that is handed to a reading process from now on."""
    read: list[bytes] = []

    def noted(files: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
        for sha256, content in files:
            read.append(content)
            yield sha256, content

    monkeypatch.setattr(
        survey, "read_guarded", lambda files, *given, **named: read_guarded(noted(files), *given, **named)
    )
    return read


@pytest.fixture
def place() -> PlaceInMemory:
    return PlaceInMemory({f"{letter}.txt": f"The text of {letter}.".encode() for letter in "abc"})


def test_what_has_not_changed_is_neither_fetched_nor_read(
    configure: Configure, store: Store, place: PlaceInMemory, contents: Contents, read_files: list[bytes]
) -> None:
    before = read_place(configure(), place, store)
    place.fetched.clear()
    read_files.clear()
    assert read_place(configure(), place, store).manifest == before.manifest
    assert (place.fetched, read_files) == ([], [])
    place.write("b.txt", b"Another text of b.")
    place.write("d.txt", b"The text of d.")
    del place.contents["a.txt"]
    after = read_place(configure(), place, store)
    assert place.fetched == ["b.txt", "d.txt"]
    assert read_files == [b"Another text of b.", b"The text of d."]
    assert {path: row.text for path, row in contents(after.manifest)[0].items()} == {
        "b.txt": "Another text of b.",
        "c.txt": "The text of c.",
        "d.txt": "The text of d.",
    }


def test_what_was_only_touched_or_moved_is_fetched_and_not_read(
    configure: Configure, store: Store, place: PlaceInMemory, read_files: list[bytes]
) -> None:
    before = read_place(configure(), place, store)
    read_files.clear()
    place.fetched.clear()
    place.write("b.txt", place.contents["b.txt"])
    assert read_place(configure(), place, store).manifest == before.manifest
    place.contents["moved.txt"] = place.contents.pop("a.txt")
    read_place(configure(), place, store)
    assert place.fetched == ["b.txt", "moved.txt"]
    assert read_files == []


def test_what_stands_twice_is_read_once(
    configure: Configure, store: Store, place: PlaceInMemory, contents: Contents, read_files: list[bytes]
) -> None:
    place.write("copy.txt", place.contents["a.txt"])
    kept, _ = contents(read_place(configure(), place, store).manifest)
    assert len(read_files) == 3
    assert kept["copy.txt"].text == kept["a.txt"].text
    assert kept["copy.txt"].doc_id != kept["a.txt"].doc_id


def test_what_was_changed_a_moment_ago_is_looked_at_again(
    configure: Configure, store: Store, place: PlaceInMemory
) -> None:
    place.modified_at = "2999-01-01T00:00:00+00:00"
    read_place(configure(), place, store)
    place.fetched.clear()
    read_place(configure(), place, store)
    assert place.fetched == ["a.txt", "b.txt", "c.txt"]


def test_a_file_that_changes_while_it_is_read_is_rejected_now_and_read_at_the_next_run(
    configure: Configure, store: Store, place: PlaceInMemory, contents: Contents
) -> None:
    whole = read_place(configure(), place, store)
    original = place.contents["b.txt"]
    place.write("b.txt", Refusal("changed", "changed while it was being read"))
    torn = read_place(configure(), place, store)
    assert contents(torn.manifest)[1]["b.txt"].rule == "changed"
    assert torn.manifest.fingerprint != whole.manifest.fingerprint
    place.write("b.txt", original)
    assert read_place(configure(), place, store).manifest == whole.manifest


def test_other_labels_and_limits_read_nothing_again_and_other_options_read_all(
    configure: Configure, store: Store, place: PlaceInMemory, read_files: list[bytes]
) -> None:
    config = configure()
    read_place(config, place, store)
    read_files.clear()
    read_place(config.model_copy(update={"labels": config.labels.model_copy(update={"owner": "Yard"})}), place, store)
    read_place(config.model_copy(update={"reading": ReadingLimits(seconds=7)}), place, store)
    assert read_files == []
    read_place(config.model_copy(update={"reading": ReadingLimits(max_text_characters=1000)}), place, store)
    assert len(read_files) == 3


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damaged_readings_are_read_again(
    configure: Configure, store: Store, place: PlaceInMemory, read_files: list[bytes], damage: str
) -> None:
    read_place(configure(), place, store)
    (chunk,) = store.memory("handbook", "raw_documents").glob("readings-*/*.parquet")
    if damage == "flip":
        content = bytearray(chunk.read_bytes())
        content[len(content) // 3] ^= 1
        chunk.write_bytes(content)
    elif damage == "truncate":
        os.truncate(chunk, chunk.stat().st_size // 2)
    else:
        chunk.unlink()
    read_files.clear()
    place.write("d.txt", b"The text of d.")
    mended = read_place(configure(), place, store)
    assert sorted(read_files) == [b"The text of a.", b"The text of b.", b"The text of c.", b"The text of d."]
    clean = read_place(configure(), place, Store(store.address + "-clean", Path(store.address + "-scratch")))
    assert mended.manifest.fingerprint == clean.manifest.fingerprint


def test_after_many_changes_what_is_kept_is_tidied(
    configure: Configure, store: Store, place: PlaceInMemory, read_files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "_MANY_CHUNKS", 3)
    for number in range(8):
        place.write("b.txt", f"The text of b, number {number}.".encode())
        read_place(configure(), place, store)
    folder = store.memory("handbook", "raw_documents")
    assert len(list(folder.glob("readings-*/*.parquet"))) <= 4
    read_files.clear()
    place.write("d.txt", b"new")
    read_place(configure(), place, store)
    assert read_files == [b"new"]


def start_run(config: SourceConfig, store: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, config.model_dump_json(exclude_none=True), str(store), str(store) + "-scratch"],
        stdout=subprocess.PIPE,
        text=True,
    )


def write_many(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / f"{number:04}.txt").write_text(f"The pump of hall {number} stands at its place. " * 20)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_killed_run_is_gone_on_with_and_its_end_is_that_of_a_clean_one(
    documents: Path, configure: Configure, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_many(documents, 5000)
    config = configure()
    with start_run(config, tmp_path / "killed") as run:
        assert run.stdout is not None
        for line in run.stdout:
            if int(line.split()[2]) > 2500 + number * 50:
                break
        run.send_signal(signal.SIGKILL)
    read: list[Any] = []
    store = Store(str(tmp_path / "killed"), tmp_path / "killed-scratch")

    def noted(files: Iterator[Any], *given: Any, **named: Any) -> Any:
        return read_guarded((read.append(file) or file for file in files), *given, **named)

    monkeypatch.setattr(survey, "read_guarded", noted)
    resumed = read_source(config, store)
    assert len(read) < 5004 - 2000
    clean = read_source(config, Store(str(tmp_path / "clean"), tmp_path / "clean-scratch"))
    assert resumed.manifest.fingerprint == clean.manifest.fingerprint


def test_two_runs_of_a_source_at_once_read_each_file_once_and_publish_the_same(
    documents: Path, configure: Configure, tmp_path: Path
) -> None:
    write_many(documents, 500)
    runs = [start_run(configure(), tmp_path / "shared") for _ in range(2)]
    said = [run.communicate()[0].splitlines() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert said[0][-1] == said[1][-1]
    assert sum("another run reads it; waiting" in line for lines in said for line in lines) == 1


def test_an_interrupted_run_keeps_what_a_chunk_holds(
    configure: Configure, store: Store, place: PlaceInMemory, read_files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "_CHUNK_SECONDS", 0.0)

    def stop(progress: Any) -> None:
        if progress.stage.endswith("reading") and progress.done >= 2:
            time.sleep(0)
            raise KeyboardInterrupt

    monkeypatch.setattr(survey, "_SECONDS_BETWEEN_REPORTS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        read_place(configure(), place, store, stop)
    read_files.clear()
    read_place(configure(), place, store)
    assert 0 < len(read_files) < 3


def test_a_full_disk_is_one_sentence_and_the_next_run_is_a_clean_one(
    documents: Path, configure: Configure, small_disk: Path, tmp_path: Path
) -> None:
    for number in range(200):
        (documents / f"{number}.txt").write_text(os.urandom(20_000).hex())
    store = Store(str(tmp_path / "store"), small_disk / "scratch")
    with pytest.raises(PlatformError, match=r"handbook/raw_documents: the disk .* is full; nothing was lost"):
        read_source(configure(), store)
    assert list(store.manifests()) == []
    for file in small_disk.rglob("*.parquet"):
        file.unlink()
    roomy = Store(str(tmp_path / "store"), tmp_path / "scratch")
    clean = read_source(configure(), Store(str(tmp_path / "clean"), tmp_path / "clean-scratch"))
    assert read_source(configure(), roomy).manifest.fingerprint == clean.manifest.fingerprint
