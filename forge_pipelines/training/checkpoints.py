"""Checkpoints of a training in progress: which one is complete, and that none is read before its hashes hold.

A checkpoint is a folder ``checkpoint-<step>``. It counts as soon as `MARKER` stands in it, which names every file and
its hash and is written last: a folder without it was torn by a crash.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import ValidationError

from forge_pipelines.manifest import FileEntry, Value
from forge_pipelines.staging import sync_folder
from forge_pipelines.store import find_damage, list_files

MARKER = "complete.json"
_PREFIX = "checkpoint-"


class Done(Value):
    """What a training had done when it saved a checkpoint.

    Attributes:
        training: what the training is known by: no other goes on from its checkpoints.
        step: the step after which it was saved.
        world_size: how many ranks saved it.
        samples: the samples of the order that were consumed, from the first to before the last named here.
        skipped_batches: the batches of these samples that no step consumed, see `batches`.
        tokens_trained: labels of all consumed samples.
        wall_seconds: time of the steps, of all launches; what a crash undid is not in it.
        libraries: the versions of what trained.
        devices: names of the GPUs, or of the processor.
    """

    training: str
    step: int
    world_size: int
    samples: tuple[int, int]
    skipped_batches: tuple[int, ...]
    tokens_trained: int
    wall_seconds: float
    libraries: Mapping[str, str]
    devices: tuple[str, ...]


class Checkpoint(Done):
    """What the marker says: what was done, and the checkpoint's files."""

    files: tuple[FileEntry, ...]


def checkpoint_folder(root: Path, step: int) -> Path:
    """Return where the checkpoint after ``step`` stands."""
    return root / f"{_PREFIX}{step}"


def read_checkpoint(folder: Path) -> Checkpoint:
    """Return what the marker of a complete checkpoint says."""
    return Checkpoint.model_validate_json((folder / MARKER).read_text())


def seal(folder: Path, done: Done) -> None:
    """Mark a checkpoint complete. Every rank must have written its files; they are on the disk when this returns."""
    checkpoint = Checkpoint(**done.model_dump(), files=list_files(folder))
    sync_folder(folder)
    unfinished = folder / f"{MARKER}.part"
    unfinished.write_text(checkpoint.model_dump_json())
    _sync(unfinished)
    unfinished.rename(folder / MARKER)
    _sync(folder)
    _sync(folder.parent)


def rotate(root: Path, keep: int, keep_every: int | None) -> None:
    """Remove all complete checkpoints but the last ``keep``, and those after every ``keep_every`` steps."""
    complete = [folder for folder in _newest_first(root) if (folder / MARKER).is_file()]
    for folder in complete[keep:]:
        if keep_every is None or _step_of(folder) % keep_every:
            _remove(folder)


def latest_complete(root: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest checkpoint whose every file matches its hash; remove what is newer, torn or damaged.

    Args:
        root: the folder of the checkpoints; it may not exist yet.
        warn: told in a sentence of each damaged checkpoint.
    """
    for folder in _newest_first(root):
        damage = _find_damage(folder)
        if damage is None:
            return read_checkpoint(folder)
        if damage:
            warn(f"{folder.name} is damaged and is not used: {damage}")
        _remove(folder)
    return None


def _find_damage(folder: Path) -> str | None:
    """Say what is wrong with a checkpoint: None when it is sound, empty when a crash merely tore it."""
    try:
        checkpoint = read_checkpoint(folder)
    except FileNotFoundError:
        return ""
    except ValidationError:
        return f"{folder / MARKER} cannot be read"
    return "; ".join(find_damage(folder, checkpoint.files)) or None


def _newest_first(root: Path) -> list[Path]:
    folders = [folder for folder in root.glob(f"{_PREFIX}*") if folder.name.removeprefix(_PREFIX).isdecimal()]
    return sorted(folders, key=_step_of, reverse=True)


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix(_PREFIX))


def _remove(folder: Path) -> None:
    # Without its marker first: a removal that is cut short must not leave a checkpoint that looks damaged.
    (folder / MARKER).unlink(missing_ok=True)
    shutil.rmtree(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
