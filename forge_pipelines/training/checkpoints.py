"""Checkpoints of a training in progress: which one is complete, and that none is read before its hashes hold.

A checkpoint is a folder ``checkpoint-<step>``. It counts as soon as `MARKER` stands in it, which names every file and
its hash, and ends in its own, and is written last: a folder without it was torn by a crash.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from forge_pipelines.errors import DataError
from forge_pipelines.manifest import FileEntry, Value, digest
from forge_pipelines.staging import sync
from forge_pipelines.store import find_damage
from forge_pipelines.training.flushing import flushed

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


class _Marker(Value):
    """The file `MARKER`: a checkpoint, and the digest of what is said of it."""

    checkpoint: Checkpoint
    sha256: str


def _to_json(checkpoint: Checkpoint) -> bytes:
    sha256 = digest(checkpoint.model_dump(mode="json"))
    return _Marker(checkpoint=checkpoint, sha256=sha256).model_dump_json().encode()


def checkpoint_folder(root: Path, step: int) -> Path:
    """Return where the checkpoint after ``step`` stands."""
    return root / f"{_PREFIX}{step}"


def step_of(folder: Path) -> int:
    """Return the step after which a checkpoint's folder was saved, by its name."""
    return int(folder.name.removeprefix(_PREFIX))


def read_checkpoint(folder: Path) -> Checkpoint:
    """Return what the marker of a complete checkpoint says.

    Raises:
        FileNotFoundError: there is no marker.
        ValueError: the marker is not as it was written.
    """
    content = (folder / MARKER).read_bytes()
    marker = _Marker.model_validate_json(content)
    if content != _to_json(marker.checkpoint):
        raise ValueError(f"{folder / MARKER} does not match its own hash")
    return marker.checkpoint


def seal(folder: Path, done: Done, known: Mapping[str, str] = MappingProxyType({})) -> None:
    """Mark a checkpoint complete. Every rank must have written its files; they are on the disk when this returns.

    Args:
        folder: the checkpoint's.
        done: what was done when it was saved.
        known: the SHA-256 of files that were hashed when they were written, by their paths in the folder.
    """
    checkpoint = Checkpoint(**done.model_dump(), files=flushed(folder, known))
    unfinished = folder / f"{MARKER}.part"
    unfinished.write_bytes(_to_json(checkpoint))
    sync(unfinished)
    unfinished.rename(folder / MARKER)
    sync(folder)
    sync(folder.parent)


def remove(folder: Path) -> None:
    """Remove a checkpoint."""
    # Without its marker first: a removal that is cut short must not leave a checkpoint that looks damaged.
    (folder / MARKER).unlink(missing_ok=True)
    shutil.rmtree(folder)


def rotate(root: Path, keep: int, keep_every: int | None) -> None:
    """Retire all complete checkpoints but the last ``keep``, and those after every ``keep_every`` steps.

    What is older than the last, and not complete, is retired, too: a crash cut its removal short.
    """
    complete = complete_in(root)
    for folder in complete[keep:]:
        if keep_every is None or step_of(folder) % keep_every:
            _retire(folder)
    for folder in _newest_first(root):
        if complete and step_of(folder) < step_of(complete[0]) and not (folder / MARKER).is_file():
            _retire(folder)


def spare_in(root: Path) -> Path:
    """Return where the checkpoint stands that was retired last, whose files the next one is written over.

    Its blocks on the disk need not be freed, discarded and found anew, which can take longer than to write them.
    """
    return root / "spare"


def remove_spare(root: Path) -> None:
    """Remove what was retired last, if there is any."""
    if (spare := spare_in(root)).exists():
        shutil.rmtree(spare)


def complete_in(root: Path) -> list[Path]:
    """Return the folders of the complete checkpoints, damaged ones among them, the newest first."""
    return [folder for folder in _newest_first(root) if (folder / MARKER).is_file()]


def latest_complete(root: Path, training: str, warn: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest checkpoint whose every file matches its hash; remove what is newer, torn or damaged.

    Args:
        root: the folder of the checkpoints; it may not exist yet.
        training: what the training is known by that goes on.
        warn: told in a sentence of each damaged checkpoint.

    Raises:
        DataError: a checkpoint is of another training; it stays where it is.
    """
    for folder in _newest_first(root):
        damage = damage_of(folder, training)
        if damage is None:
            return read_checkpoint(folder)
        if damage:
            warn(f"{folder.name} is damaged and is not used: {damage}")
        remove(folder)
    return None


def damage_of(folder: Path, training: str) -> str | None:
    """Say what is wrong with a checkpoint: None when it is sound, empty when a crash merely tore it.

    Raises:
        DataError: it is of another training than the one that is known by ``training``.
    """
    try:
        checkpoint = read_checkpoint(folder)
    except FileNotFoundError:
        return ""
    except ValueError:
        return f"{folder / MARKER} is not as it was written"
    if checkpoint.training != training:
        whose = f"is of another training ({checkpoint.training[:12]}…), with other shards or another recipe"
        raise DataError(f"{folder.name} {whose}; move {folder} away, and run the same command again")
    if checkpoint.step != step_of(folder):
        return f"{folder / MARKER} says that it was saved after step {checkpoint.step}"
    return "; ".join([*find_damage(folder, checkpoint.files), *_strangers(folder, checkpoint)]) or None


def _retire(folder: Path) -> None:
    """Make a checkpoint the spare one."""
    remove_spare(folder.parent)
    folder.rename(spare_in(folder.parent))
    # What is written over it must not be found under its old name after a crash.
    sync(folder.parent)


def _strangers(folder: Path, checkpoint: Checkpoint) -> list[str]:
    """Say which files were not saved with a checkpoint: what loads it may go by them."""
    saved = {MARKER, *(entry.path for entry in checkpoint.files)}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    return [f"{folder / path} was not saved with it" for path in sorted(there - saved)]


def _newest_first(root: Path) -> list[Path]:
    folders = [folder for folder in root.glob(f"{_PREFIX}*") if folder.name.removeprefix(_PREFIX).isdecimal()]
    return sorted(folders, key=step_of, reverse=True)
