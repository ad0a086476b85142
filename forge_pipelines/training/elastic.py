"""Going on with another number of ranks: which checkpoints must be converted for that, and how it is done.

DeepSpeed shares an optimizer's state out over the ranks (ZeRO), so what two of them saved does not load in one. A child
process writes it anew as a universal checkpoint, which any number of ranks loads.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from forge_pipelines import processes
from forge_pipelines.errors import PlatformError
from forge_pipelines.training.checkpoints import Checkpoint, Done, checkpoint_folder, remove_spare, seal
from forge_pipelines.training.ranks import unexplained
from forge_pipelines.training.recipe import Recipe
from forge_pipelines.training.workspace import Workspace

_AS_THEY_WERE = ("trainer_state.json", "scheduler.pt")


def for_ranks(
    checkpoint: Checkpoint,
    recipe: Recipe,
    workspace: Workspace,
    log: Path,
    say: Callable[[str], None],
) -> Path:
    """Return a folder from which the recipe's number of ranks goes on: the checkpoint's own, or a converted one.

    A conversion that was cut short is begun again.

    Args:
        checkpoint: a verified checkpoint in the workspace.
        log: file that the child's output is appended to.
        say: told in a sentence of a conversion.

    Raises:
        PlatformError: it cannot be converted; or the disk is full.
    """
    source = checkpoint_folder(workspace.checkpoints, checkpoint.step)
    if checkpoint.world_size == recipe.ranks or recipe.zero_stage == 0:
        return source
    change = f"{source.name}, which {checkpoint.world_size} rank(s) saved, for {recipe.ranks}"
    say(f"converting {change}")
    # Its files are of other sizes than those of so many ranks, and the disk need not hold it beside the converted one.
    remove_spare(workspace.checkpoints)
    shutil.rmtree(workspace.converted, ignore_errors=True)
    target = checkpoint_folder(workspace.converted, checkpoint.step)
    target.mkdir(parents=True)
    for name in _AS_THEY_WERE:
        shutil.copyfile(source / name, target / name)
    code = _convert(source, target, log)
    if code != 0:
        reason = unexplained("the conversion", code, workspace.folder, log)
        remedy = f"or set training.gpus.count back to {checkpoint.world_size}"
        raise PlatformError(f"{change} could not be converted: {reason}, {remedy}")
    done = checkpoint.model_copy(update={"world_size": recipe.ranks})
    seal(target, Done.model_validate(done.model_dump(exclude={"files"})))
    return target


def _convert(source: Path, target: Path, log: Path) -> int:
    log.parent.mkdir(parents=True, exist_ok=True)
    worker = [sys.executable, "-m", "forge_pipelines.training.worker.universal"]
    return processes.run(
        [*worker, str(os.getpid()), str(source), str(target)],
        lambda _line: None,
        environment={"DS_ACCELERATOR": "cpu", **processes.NO_GPU},
        log=log,
    )
