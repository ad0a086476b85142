"""Checkpoints are hashed and on the disk when training goes on, and a full disk costs none that was saved."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest
import torch
from deepspeed.runtime.checkpoint_engine.torch_checkpoint_engine import TorchCheckpointEngine

from forge_pipelines.errors import PlatformError
from forge_pipelines.manifest import Manifest
from forge_pipelines.progress import Progress
from forge_pipelines.store import Store, find_damage, hash_file, list_files
from forge_pipelines.training.checkpoints import checkpoint_folder, read_checkpoint, spare_in
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.flushing import flushed
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.stage import train, training_request
from forge_pipelines.training.worker.saving import HashedFile, hash_while_saving, hashes_below
from forge_pipelines.training.workspace import Workspace

Recipe = Callable[..., TrainingConfig]


def fill(disk: Path) -> None:
    """Leave no byte of a disk free."""
    with (disk / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_full_disk_while_saving_is_one_sentence_and_the_next_launch_goes_on_from_the_last_checkpoint(
    tmp_path: Path, small_disk: Path, recipe: Recipe, publish: Callable[[Store], Manifest], forge_cache: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,size=24m", str(small_disk)], check=True)
    store = Store(str(tmp_path / "store"), small_disk / "scratch")
    environment = TrainingEnvironment(forge_cache, tmp_path / "logs")
    shards, few = publish(store), {"steps": 40, "checkpoint_every_steps": 2, "gpus": {"count": 1}}

    def fill_at_step_3(progress: Progress) -> None:
        # Training goes on while the disk is filled: it may have saved again by then.
        if progress.done == 3:
            fill(small_disk)

    with pytest.raises(PlatformError, match=rf"^tiny: the disk that holds {small_disk}/\S+ is full; the la") as caught:
        # All are kept: the removal of an old one would make room for the next.
        train("tiny", shards, recipe(**few, keep_checkpoints=40), store, environment, fill_at_step_3)
    assert "run the same command again" in str(caught.value) and "\n" not in str(caught.value)
    sealed = [marker.parent for marker in small_disk.rglob("checkpoint-*/complete.json")]
    checkpoints = [read_checkpoint(folder) for folder in sealed]
    assert [find_damage(folder, each.files) for folder, each in zip(sealed, checkpoints, strict=True)] == [[]] * len(
        sealed
    )
    last = max(checkpoint.step for checkpoint in checkpoints)
    (small_disk / "ballast").unlink()
    made = train("tiny", shards, recipe(**few), store, environment).manifest
    assert (made.measured["resumed_from_step"], made.counts["steps"]) == (last, 40) and last in range(2, 40, 2)


def test_what_is_hashed_while_it_is_written_is_what_stands_on_the_disk(tmp_path: Path) -> None:
    state = {"small": torch.arange(10), "large": torch.randn(5_000_000), "words": "kept", "many": [torch.rand(9)] * 50}
    torch.save(state, tmp_path / "plain.pt")
    with HashedFile(tmp_path / "hashed.pt") as file:
        torch.save(state, file)
    assert file.sha256 == hash_file(tmp_path / "hashed.pt")
    read, plain = (torch.load(tmp_path / name) for name in ("hashed.pt", "plain.pt"))
    assert torch.equal(read["large"], plain["large"]) and read["words"] == "kept"
    with HashedFile(tmp_path / "reused") as file:
        buffer = bytearray(b"a" * 100_000)
        file.write(memoryview(buffer))
        buffer[:] = b"b" * 100_000
        file.write(memoryview(buffer)[:10])
    assert (tmp_path / "reused").read_bytes() == b"a" * 100_000 + b"b" * 10
    assert file.sha256 == hash_file(tmp_path / "reused")


@pytest.fixture
def save(tmp_path: Path) -> Iterator[Callable[[object, Path], None]]:
    """What DeepSpeed saves a file with in a rank that has a spare checkpoint."""
    usual = TorchCheckpointEngine.save
    hash_while_saving(spare_in(tmp_path))
    engine = TorchCheckpointEngine()
    engine.zipfile_serialization = True
    yield lambda state, path: engine.save(state, str(path))
    TorchCheckpointEngine.save = usual
    torch.serialization.set_crc32_options(True)


@pytest.mark.parametrize("earlier_size", [10, 300_000, 900_000])
def test_a_checkpoint_takes_over_the_file_of_a_retired_one_and_holds_nothing_of_it(
    tmp_path: Path, save: Callable[[object, Path], None], earlier_size: int
) -> None:
    old, new = (checkpoint_folder(tmp_path, step) / f"global_step{step}" / "states.pt" for step in (1, 2))
    for path in (old, new):
        path.parent.mkdir(parents=True)
    save(torch.rand(earlier_size), old)
    inode = old.stat().st_ino
    checkpoint_folder(tmp_path, 1).rename(spare_in(tmp_path))
    state = torch.rand(300_000)
    save(state, new)
    assert new.stat().st_ino == inode, "the old blocks"
    save(state, tmp_path / "states.pt")
    assert new.read_bytes() == (tmp_path / "states.pt").read_bytes()
    assert hashes_below(new.parent) == {"states.pt": hash_file(new)}


def test_a_training_writes_its_checkpoints_over_the_oldest(
    store: Store, recipe: Recipe, publish: Callable[[Store], Manifest], forge_cache: Path, tmp_path: Path
) -> None:
    config = recipe(steps=12, checkpoint_every_steps=2, zero_stage=3)
    shards, opened = publish(store), list[tuple[IO[bytes], bytes]]()
    workspace = Workspace(store.workspace(training_request("tiny", shards, config)))

    def open_the_first(progress: Progress) -> None:
        if progress.done == 3:
            for path in sorted(checkpoint_folder(workspace.checkpoints, 2).rglob("*_states.pt")):
                file = path.open("rb")
                opened.append((file, file.read()))

    train("tiny", shards, config, store, TrainingEnvironment(forge_cache, tmp_path / "logs"), open_the_first)
    assert len(opened) == 4, "weights and optimizer, of two ranks"
    for file, before in opened:
        with file:
            file.seek(0)
            assert file.read() != before, "a file that is removed stays as it was for those who have it open"


def test_a_retired_checkpoint_that_is_published_too_is_not_written_over(
    tmp_path: Path, save: Callable[[object, Path], None]
) -> None:
    retired, published = spare_in(tmp_path) / "global_step1" / "states.pt", tmp_path / "published.pt"
    retired.parent.mkdir(parents=True)
    save(torch.rand(1000), retired)
    os.link(retired, published)
    before = published.read_bytes()
    save(torch.rand(1000), tmp_path / "states.pt")
    assert published.read_bytes() == before and retired.is_file()


def test_a_checkpoints_files_are_listed_as_the_store_lists_them_and_what_is_known_is_not_read_again(
    tmp_path: Path,
) -> None:
    folder = checkpoint_folder(tmp_path, 4)
    (folder / "global_step4").mkdir(parents=True)
    for name in ("global_step4/a.pt", "global_step4/b.pt", "latest"):
        (folder / name).write_bytes(os.urandom(1000))
    assert flushed(folder, {}) == list_files(folder)
    [known] = [each for each in flushed(folder, {"latest": "1" * 64}) if each.path == "latest"]
    assert known.sha256 == "1" * 64
