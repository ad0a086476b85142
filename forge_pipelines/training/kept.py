"""Kept checkpoints: clean points of a training, published with its model, to which a document's take-back goes back.

They stand in the folder `KEPT` of a `trained_checkpoint`, each as it was saved, without its marker: the store hashes
them. What differs from one run to the next (time, devices) stands in what was measured, so that the same training
gives the same fingerprint however often it was interrupted.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from forge_pipelines.manifest import FileEntry, Manifest, Value
from forge_pipelines.store import Store
from forge_pipelines.training.checkpoints import (
    Done,
    checkpoint_folder,
    complete_in,
    damage_of,
    read_checkpoint,
    remove,
    seal,
    step_of,
)

KEPT = "checkpoints"
KEPT_STEPS = "kept_checkpoints"
"""Where a manifest counts the steps of kept checkpoints, and where it has what was measured of each."""
_RECORD = "kept.json"
_OF_THE_RUN = {"training", "wall_seconds", "devices", "libraries"}
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP)


class KeptCheckpoint(Value):
    """What was done when a checkpoint was saved, as far as it is the same in every run; see `Done`."""

    step: int
    world_size: int
    samples: tuple[int, int]
    skipped_batches: tuple[int, ...]
    tokens_trained: int


def model_alone(checkpoint: Manifest) -> Manifest:
    """Return a `trained_checkpoint` without its kept checkpoints: to open what a model is, and no more."""
    return checkpoint.model_copy(update={"files": tuple(each for each in checkpoint.files if not _is_kept(each))})


def publish_kept(
    checkpoints: Path, training: str, keep_every: int, folder: Path, warn: Callable[[str], None]
) -> Mapping[int, Any]:
    """Put the checkpoints after every ``keep_every`` steps beside a finished model, linked where the disk allows.

    Until the model is published they stand in the training's own folder, too: a crash loses none.

    Args:
        checkpoints: the training's checkpoints.
        training: what it is known by.
        folder: where the model stands.
        warn: told in a sentence of each that is damaged, which is left out.

    Returns:
        By step, in ascending order, what was measured of each: the rest of `Done`.
    """
    measured = {}
    for source in reversed(complete_in(checkpoints)):
        if step_of(source) % keep_every:
            continue
        if damage := damage_of(source, training):
            warn(f"{source.name} is damaged and is not kept: {damage}")
            continue
        done = read_checkpoint(source)
        target = checkpoint_folder(folder / KEPT, done.step)
        _link(source, target, [entry.path for entry in done.files if not entry.path.endswith(".py")])
        kept = KeptCheckpoint.model_validate(done.model_dump(exclude={*_OF_THE_RUN, "files"}))
        (target / _RECORD).write_text(kept.model_dump_json() + "\n")
        measured[done.step] = done.model_dump(mode="json", include=_OF_THE_RUN - {"training"})
    return measured


def kept_in(checkpoint: Manifest, store: Store) -> list[KeptCheckpoint]:
    """Return the kept checkpoints of a `trained_checkpoint`, in the order of their steps.

    Raises:
        DataError: what is said of one is missing or damaged.
    """
    records = [entry for entry in checkpoint.files if _is_kept(entry) and entry.path.endswith(f"/{_RECORD}")]
    folder = _open(checkpoint, records, store)
    kept = [KeptCheckpoint.model_validate_json((folder / entry.path).read_bytes()) for entry in records]
    return sorted(kept, key=lambda each: each.step)


def take_up(checkpoint: Manifest, kept: KeptCheckpoint, store: Store, checkpoints: Path, training: str) -> None:
    """Make a kept checkpoint, once its hashes hold, a checkpoint of another training that goes on from it.

    Args:
        checkpoint: the `trained_checkpoint` that it was published with.
        checkpoints: the other training's checkpoints.
        training: what the other training is known by.

    Raises:
        DataError: a file of it is missing or damaged.
    """
    target = checkpoint_folder(checkpoints, kept.step)
    if target.exists():
        if damage_of(target, training) is None:
            return
        remove(target)
    inside = f"{KEPT}/{target.name}/"
    entries = [entry for entry in checkpoint.files if entry.path.startswith(inside)]
    source = _open(checkpoint, entries, store) / inside
    _link(source, target, [path for entry in entries if (path := entry.path.removeprefix(inside)) != _RECORD])
    of_the_run = checkpoint.measured[KEPT_STEPS][str(kept.step)]
    seal(target, Done(training=training, **kept.model_dump(), **of_the_run))


def _is_kept(entry: FileEntry) -> bool:
    return entry.path.startswith(f"{KEPT}/")


def _open(checkpoint: Manifest, entries: Sequence[FileEntry], store: Store) -> Path:
    return store.open(checkpoint.model_copy(update={"files": tuple(entries)}))


def _link(source: Path, target: Path, paths: Iterable[str]) -> None:
    """Give files a second name below another folder, or copy them where there are no such links.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    for path in paths:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source / path, target / path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            shutil.copyfile(source / path, target / path)
