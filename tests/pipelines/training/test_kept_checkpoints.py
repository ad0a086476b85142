"""Kept checkpoints: published with their model, found again, and in nobody's way."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from forge_pipelines.errors import DataError, PlatformError
from forge_pipelines.manifest import Classification, Manifest, StageRequest
from forge_pipelines.store import Made, Store
from forge_pipelines.training.checkpoints import (
    MARKER,
    Done,
    checkpoint_folder,
    latest_complete,
    read_checkpoint,
    rotate,
    seal,
)
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.kept import KEPT, KEPT_STEPS, kept_in, model_alone, publish_kept, take_up
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.stage import train, training_request
from forge_pipelines.training.workspace import Workspace

Recipe = Callable[..., TrainingConfig]
KEY, OTHER = "a" * 64, "b" * 64


def done(step: int, training: str = KEY, wall_seconds: float = 0.5) -> Done:
    return Done(
        training=training,
        step=step,
        world_size=2,
        samples=(0, 4 * step),
        skipped_batches=(1,),
        tokens_trained=100 * step,
        wall_seconds=wall_seconds * step,
        libraries={"torch": "2.13.0"},
        devices=("CPU",),
    )


def write_checkpoint(root: Path, step: int, training: str = KEY, wall_seconds: float = 0.5) -> Path:
    folder = checkpoint_folder(root, step)
    (folder / "global_step").mkdir(parents=True)
    (folder / "global_step" / "weights.pt").write_bytes(bytes(range(256)) * step)
    (folder / "zero_to_fp32.py").write_text("print('a script of DeepSpeed')\n")
    seal(folder, done(step, training, wall_seconds))
    return folder


def checkpoints(root: Path, wall_seconds: float = 0.5) -> Path:
    """Complete checkpoints after steps 5 and 10, and after steps 12 and 14, which are not kept."""
    for step in (5, 10, 12, 14):
        write_checkpoint(root, step, wall_seconds=wall_seconds)
    return root


def publish(store: Store, root: Path, version: str = "1") -> Manifest:
    """Publish a model with every fifth checkpoint."""
    request = StageRequest(kind="trained_checkpoint", name="tiny", inputs={}, parameters={}, code_version=version)

    def make(folder: Path) -> Made:
        (folder / "model.safetensors").write_bytes(b"weights")
        kept = publish_kept(root, KEY, 5, folder, fail)
        measured = {KEPT_STEPS: {str(step): each for step, each in kept.items()}}
        return Made({KEPT_STEPS: [*kept]}, Classification.INTERNAL, measured)

    return store.obtain(request, make).manifest


def fail(message: str) -> None:
    raise AssertionError(message)


def test_every_nth_checkpoint_survives_the_others(tmp_path: Path) -> None:
    rotate(checkpoints(tmp_path), keep=2, keep_every=5)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == [
        "checkpoint-10",
        "checkpoint-12",
        "checkpoint-14",
        "checkpoint-5",
    ]
    write_checkpoint(tmp_path, 16)
    rotate(tmp_path, keep=2, keep_every=5)
    assert not checkpoint_folder(tmp_path, 12).exists()
    assert checkpoint_folder(tmp_path, 5).exists()


def test_kept_checkpoints_are_published_with_the_model_and_every_file_of_theirs_is_hashed(
    store: Store, tmp_path: Path
) -> None:
    manifest = publish(store, checkpoints(tmp_path / "work"))
    assert [entry.path for entry in manifest.files] == [
        f"{KEPT}/checkpoint-10/global_step/weights.pt",
        f"{KEPT}/checkpoint-10/kept.json",
        f"{KEPT}/checkpoint-5/global_step/weights.pt",
        f"{KEPT}/checkpoint-5/kept.json",
        "model.safetensors",
    ]
    assert manifest.counts == {KEPT_STEPS: [5, 10]}
    folder = store.open(manifest)
    for step in (5, 10):
        inside = "global_step/weights.pt"
        source, target = (checkpoint_folder(root, step) for root in (tmp_path / "work", folder / KEPT))
        assert (source / inside).samefile(target / inside), "a link, and no copy"


def test_until_the_model_is_published_a_crash_loses_none(store: Store, tmp_path: Path) -> None:
    root = checkpoints(tmp_path / "work")

    def crash(folder: Path) -> Made:
        publish_kept(root, KEY, 5, folder, fail)
        raise KeyboardInterrupt

    request = StageRequest(kind="trained_checkpoint", name="tiny", inputs={}, parameters={}, code_version="1")
    with pytest.raises(KeyboardInterrupt):
        store.obtain(request, crash)
    assert latest_complete(root, KEY, fail) is not None
    assert publish(store, root).counts == {KEPT_STEPS: [5, 10]}


def test_time_and_devices_do_not_change_the_fingerprint(tmp_path: Path) -> None:
    manifests = []
    for name, wall_seconds in (("slow", 9.0), ("fast", 0.1)):
        store = Store(str(tmp_path / name / "store"), tmp_path / name / "scratch")
        manifests.append(publish(store, checkpoints(tmp_path / name / "work", wall_seconds)))
    assert manifests[0].fingerprint == manifests[1].fingerprint
    assert manifests[0].measured[KEPT_STEPS]["10"]["wall_seconds"] == 90.0


def test_a_kept_checkpoint_that_was_damaged_is_named_and_not_published(store: Store, tmp_path: Path) -> None:
    root, said = checkpoints(tmp_path / "work"), list[str]()
    (checkpoint_folder(root, 5) / "global_step" / "weights.pt").write_bytes(b"other")
    kept = publish_kept(root, KEY, 5, tmp_path / "model", said.append)
    assert [*kept] == [10]
    assert len(said) == 1
    assert said[0].startswith("checkpoint-5 is damaged and is not kept: ")
    assert [path.name for path in (tmp_path / "model" / KEPT).iterdir()] == ["checkpoint-10"]


def test_a_model_is_opened_without_reading_its_kept_checkpoints(store: Store, tmp_path: Path) -> None:
    manifest = publish(store, checkpoints(tmp_path / "work"))
    shutil.rmtree(Path(store.address_of(manifest)) / KEPT)
    assert (store.open(model_alone(manifest)) / "model.safetensors").read_bytes() == b"weights"
    with pytest.raises(DataError, match=r"checkpoints/checkpoint-10/global_step/weights\.pt is missing"):
        store.open(manifest)


def test_an_object_store_gives_a_model_without_its_kept_checkpoints_and_them_afterwards(
    s3_address: str, tmp_path: Path
) -> None:
    store = Store(s3_address, tmp_path / "scratch")
    manifest = publish(store, checkpoints(tmp_path / "work"))
    folder = store.open(model_alone(manifest))
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["model.safetensors"]
    assert [kept.step for kept in kept_in(manifest, store)] == [5, 10]
    assert (folder / "model.safetensors").is_file(), "what was fetched before stays"
    assert not (folder / KEPT / "checkpoint-10" / "global_step").exists()


def test_a_kept_checkpoint_is_taken_up_by_another_training_as_its_own(store: Store, tmp_path: Path) -> None:
    manifest, root = publish(store, checkpoints(tmp_path / "work")), tmp_path / "other"
    for kept in kept_in(manifest, store):
        take_up(manifest, kept, store, root, OTHER)
    checkpoint = latest_complete(root, OTHER, fail)
    assert checkpoint is not None
    assert checkpoint.model_dump(exclude={"files"}) == done(10, OTHER).model_dump()
    assert [entry.path for entry in checkpoint.files] == ["global_step/weights.pt"]


def test_one_that_was_torn_while_it_was_taken_up_is_taken_up_again_and_a_complete_one_is_left(
    store: Store, tmp_path: Path
) -> None:
    manifest, root = publish(store, checkpoints(tmp_path / "work")), tmp_path / "other"
    [first, second] = kept_in(manifest, store)
    torn, complete = checkpoint_folder(root, first.step), checkpoint_folder(root, second.step)
    (torn / "global_step").mkdir(parents=True)
    (torn / "global_step" / "weights.pt").write_bytes(b"half")
    take_up(manifest, second, store, root, OTHER)
    before = (complete / MARKER).stat().st_mtime_ns
    for kept in (first, second):
        take_up(manifest, kept, store, root, OTHER)
    assert read_checkpoint(torn).step == 5
    assert (complete / MARKER).stat().st_mtime_ns == before
    assert latest_complete(root, OTHER, fail) is not None


def test_a_checkpoint_of_another_training_is_refused_by_name_and_stays(tmp_path: Path) -> None:
    strange = write_checkpoint(checkpoints(tmp_path), 20, OTHER)
    with pytest.raises(DataError, match=rf"^checkpoint-20 is of another training \(b+…\), .* move {strange} away, and"):
        latest_complete(tmp_path, KEY, fail)
    assert (strange / MARKER).is_file()


def test_what_does_not_belong_to_a_checkpoint_or_stands_in_its_place_is_damage(tmp_path: Path) -> None:
    root, said = checkpoints(tmp_path), list[str]()
    (checkpoint_folder(root, 14) / "latest_universal").write_text("global_step_of_another")
    shutil.rmtree(checkpoint_folder(root, 12))
    checkpoint_folder(root, 10).rename(checkpoint_folder(root, 12))
    checkpoint = latest_complete(root, KEY, said.append)
    assert checkpoint is not None
    assert checkpoint.step == 5
    assert [message.partition(" is damaged and is not used: ")[0] for message in said] == [
        "checkpoint-14",
        "checkpoint-12",
    ]
    assert said[0].endswith("checkpoint-14/latest_universal was not saved with it")
    assert said[1].endswith("checkpoint-12/complete.json says that it was saved after step 10")


def test_other_unfinished_trainings_of_a_model_are_found_and_stay(store: Store, tmp_path: Path) -> None:
    requests = [
        StageRequest(kind="trained_checkpoint", name=name, inputs={}, parameters={}, code_version=version)
        for name, version in (("tiny", "1"), ("tiny", "2"), ("tiny", "3"), ("other", "1"))
    ]
    workspaces = [Workspace(store.workspace(request)) for request in requests]
    for workspace in (workspaces[0], workspaces[1], workspaces[3]):
        checkpoints(workspace.checkpoints)
    assert [*workspaces[0].others()] == [(workspaces[1].folder, 14)]
    assert sorted(workspaces[2].others()) == sorted([(each.folder, 14) for each in workspaces[:2]])


def test_a_changed_recipe_begins_anew_and_says_once_where_the_unfinished_training_stands(
    store: Store, shards: Manifest, recipe: Recipe, tmp_path: Path
) -> None:
    before = Workspace(store.workspace(training_request("tiny", shards, recipe(steps=20))))
    checkpoints(before.checkpoints)
    said: list[str] = []
    # Two GPUs are asked for and one is there: it ends before a rank starts.
    environment = TrainingEnvironment(tmp_path, tmp_path, visible_gpus=1)
    with pytest.raises(PlatformError, match="1 can be seen"):
        train("tiny", shards, recipe(), store, environment, lambda report: said.append(report.message))
    assert said == [
        f"{before.folder} holds an unfinished training of tiny with another recipe or other shards, 14 steps of it; "
        "it is kept, and the same recipe goes on from there"
    ]
    assert latest_complete(before.checkpoints, KEY, fail) is not None


def test_a_training_does_not_go_on_from_a_checkpoint_of_other_shards(
    store: Store, shards: Manifest, recipe: Recipe, tmp_path: Path
) -> None:
    workspace = Workspace(store.workspace(training_request("tiny", shards, recipe())))
    checkpoints(workspace.checkpoints)
    with pytest.raises(DataError, match=r"^checkpoint-14 is of another training \(a+…\), with other shards or another"):
        train("tiny", shards, recipe(), store, TrainingEnvironment(tmp_path, tmp_path))
    assert checkpoint_folder(workspace.checkpoints, 14).is_dir()
    assert not (tmp_path / "logs").exists()
