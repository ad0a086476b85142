"""How many sequences a GPU works on at once, where the recipe leaves it open: as many as it has memory for."""

from pathlib import Path

from forge_pipelines.training.memory import layout_of, layout_that_fits
from forge_pipelines.training.recipe import Recipe
from forge_pipelines.training.sizing import SizingJob, size_up
from forge_pipelines.training.workspace import Workspace


def fitted(name: str, recipe: Recipe, job: SizingJob, memory_bytes: int, workspace: Workspace, log: Path) -> Recipe:
    """Return a recipe that says its micro-batch: its own, the one that this training began with, or what fits.

    A training keeps to the one that it began with, so that it goes on bit by bit on a GPU with other memory.

    Args:
        name: the model's, for messages.
        recipe: with nothing left open but the micro-batch.
        job: asks for the sizes of the network.
        memory_bytes: of the smallest GPU of a rank.
        workspace: remembers the choice.
        log: file that the output of the process that sizes the network is appended to.

    Raises:
        ConfigError: the recipe gives no network.
        PlatformError: the process that sizes the network was killed.
    """
    if recipe.micro_batch_sequences is not None:
        return recipe
    chosen = workspace.micro_batch
    if chosen is None or recipe.batch_sequences // recipe.ranks % chosen:
        layout = layout_of(recipe, job.sequence_length)
        shape = size_up(name, job, log).shape
        chosen = layout_that_fits(shape, layout, recipe.batch_sequences, memory_bytes).micro_batch
        workspace.begin_with(chosen)
    return recipe.model_copy(update={"micro_batch_sequences": chosen})
