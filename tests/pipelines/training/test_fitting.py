"""Where a recipe leaves its micro-batch open, a GPU works on as many sequences at once as fit, and keeps to it."""

from collections.abc import Callable
from pathlib import Path

import planned

from forge_pipelines.gpu.inventory import Device, least_memory
from forge_pipelines.shards.config import TokenizerConfig
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.fitting import fitted
from forge_pipelines.training.memory import layout_of, memory_of
from forge_pipelines.training.recipe import Recipe, recipe_of
from forge_pipelines.training.sizing import NetworkShape, size_up, sizing_job
from forge_pipelines.training.workspace import Workspace

LENGTH, VOCABULARY = 1024, TokenizerConfig().vocabulary_size


def needed(shape: NetworkShape, recipe: Recipe, micro_batch: int) -> int:
    said = recipe.model_copy(update={"micro_batch_sequences": micro_batch})
    return memory_of(shape, layout_of(said, LENGTH), on_gpu=True).total


def test_a_training_works_on_as_many_sequences_as_fit_and_keeps_to_that_on_any_gpu(
    tmp_path: Path, recipe: Callable[..., TrainingConfig]
) -> None:
    workspace, log = Workspace(tmp_path), tmp_path / "log"
    said = recipe(architecture=planned.MIDDLING, batch_sequences=24, gpus={"count": 1})
    open_one, of_two = (
        recipe_of(said.model_copy(update={"gpus": said.gpus.model_copy(update={"count": count})}), None, LENGTH, "bf16")
        for count in (1, 2)
    )
    job = sizing_job(open_one, LENGTH, VOCABULARY, None)
    shape = size_up("tiny", job, log).shape
    fits_8 = needed(shape, open_one, 8)

    def chosen(recipe: Recipe, memory_bytes: int) -> int | None:
        return fitted("tiny", recipe, job, memory_bytes, workspace, log).micro_batch_sequences

    assert chosen(open_one.model_copy(update={"micro_batch_sequences": 2}), fits_8) == 2
    assert chosen(open_one, fits_8) == 8
    assert needed(shape, open_one, 12) > fits_8 + 1
    assert chosen(open_one, 10 * fits_8) == 8
    # Two ranks have twelve sequences each, which are no number of eights.
    assert chosen(of_two, 10 * fits_8) == 12
    (tmp_path / "other").mkdir()
    assert fitted("other", open_one, job, 1, Workspace(tmp_path / "other"), log).micro_batch_sequences == 1


def test_the_smallest_of_a_ranks_devices_says_how_much_memory_there_is() -> None:
    there = [Device(index=index, uuid=f"GPU-{index}", name="a GPU", memory_bytes=index << 30) for index in (1, 2, 3)]
    assert least_memory(["GPU-3", "GPU-2"], there) == 2 << 30
    assert least_memory(["GPU-3", "0"], there) is None
    assert least_memory([], there) is None
