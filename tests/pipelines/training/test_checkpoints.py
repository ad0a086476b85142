"""Which checkpoint training goes on from, without any training."""

from pathlib import Path

import pytest

from forge_pipelines.training.checkpoints import (
    MARKER,
    Done,
    checkpoint_folder,
    latest_complete,
    read_checkpoint,
    remove_spare,
    rotate,
    seal,
    spare_in,
)


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    """Complete checkpoints after steps 8, 9 and 10."""
    root = tmp_path / "checkpoints"
    for step in (8, 9, 10):
        write_checkpoint(root, step)
        seal(checkpoint_folder(root, step), done(step))
    return root


def done(step: int) -> Done:
    return Done(
        training="0" * 64,
        step=step,
        world_size=2,
        samples=(0, 4 * step),
        skipped_batches=(),
        tokens_trained=100 * step,
        wall_seconds=0.5 * step,
        libraries={"torch": "2.13.0"},
        devices=("CPU",),
    )


def write_checkpoint(root: Path, step: int) -> None:
    folder = checkpoint_folder(root, step)
    (folder / "global_step").mkdir(parents=True)
    (folder / "global_step" / "weights.pt").write_bytes(bytes(range(256)) * step)


def resume_step(root: Path) -> tuple[int | None, list[str]]:
    warnings: list[str] = []
    checkpoint = latest_complete(root, "0" * 64, warnings.append)
    return (checkpoint.step if checkpoint else None), warnings


def test_the_newest_complete_checkpoint_is_used(checkpoints: Path) -> None:
    assert resume_step(checkpoints) == (10, [])


def test_a_checkpoint_says_what_was_done_when_it_was_saved(checkpoints: Path) -> None:
    checkpoint = read_checkpoint(checkpoint_folder(checkpoints, 9))
    assert checkpoint.model_dump(exclude={"files"}) == done(9).model_dump()
    assert [file.path for file in checkpoint.files] == ["global_step/weights.pt"]


def test_nothing_saved_means_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert resume_step(tmp_path / "never_made") == (None, [])


def test_a_folder_torn_by_a_crash_is_removed_and_not_used(checkpoints: Path) -> None:
    write_checkpoint(checkpoints, 11)
    assert resume_step(checkpoints) == (10, [])
    assert not checkpoint_folder(checkpoints, 11).exists()


def test_a_flipped_byte_in_a_checkpoint_is_named_and_the_one_before_is_used(checkpoints: Path) -> None:
    damaged = checkpoint_folder(checkpoints, 10) / "global_step" / "weights.pt"
    content = bytearray(damaged.read_bytes())
    content[700] ^= 1
    damaged.write_bytes(content)
    step, warnings = resume_step(checkpoints)
    assert step == 9
    assert len(warnings) == 1
    assert "checkpoint-10" in warnings[0]
    assert "weights.pt" in warnings[0]
    assert not checkpoint_folder(checkpoints, 10).exists()


def test_a_marker_that_cannot_be_read_is_named(checkpoints: Path) -> None:
    (checkpoint_folder(checkpoints, 10) / MARKER).write_text("{")
    step, warnings = resume_step(checkpoints)
    assert step == 9
    assert MARKER in warnings[0]


def test_rotation_keeps_the_last_complete_checkpoints_and_one_to_write_the_next_over(checkpoints: Path) -> None:
    write_checkpoint(checkpoints, 11)
    rotate(checkpoints, keep=2, keep_every=None)
    names = sorted(folder.name for folder in checkpoints.iterdir())
    assert names == ["checkpoint-10", "checkpoint-11", "checkpoint-9", "spare"]
    seal(checkpoint_folder(checkpoints, 11), done(11))
    rotate(checkpoints, keep=2, keep_every=None)
    assert sorted(folder.name for folder in checkpoints.iterdir()) == ["checkpoint-10", "checkpoint-11", "spare"]
    assert (spare_in(checkpoints) / "global_step" / "weights.pt").stat().st_size == 256 * 9
    assert resume_step(checkpoints) == (11, [])
    for _ in range(2):
        remove_spare(checkpoints)
    assert not spare_in(checkpoints).exists()


def test_rotation_takes_what_a_crash_left_of_an_old_checkpoint(checkpoints: Path) -> None:
    (checkpoint_folder(checkpoints, 9) / MARKER).unlink()
    write_checkpoint(checkpoints, 12)
    seal(checkpoint_folder(checkpoints, 12), done(12))
    write_checkpoint(checkpoints, 13)
    rotate(checkpoints, keep=2, keep_every=None)
    names = sorted(folder.name for folder in checkpoints.iterdir())
    assert names == ["checkpoint-10", "checkpoint-12", "checkpoint-13", "spare"]  # the last is being written
