"""A loss that is a fault stops training within its step and names what was read; such a batch may be skipped once."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from forge_pipelines.errors import DataError
from forge_pipelines.manifest import Classification, Manifest, StageRequest
from forge_pipelines.progress import Progress
from forge_pipelines.shards.order import sequences_of
from forge_pipelines.shards.reading import SEQUENCES, open_shards
from forge_pipelines.store import Made, Store
from forge_pipelines.training.batches import batches_of
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.stage import RECORD, train

Recipe = Callable[..., TrainingConfig]
BAD_BATCH = 44
CALM = {
    "steps": 60,
    "batch_sequences": 2,
    "learning_rate": 3e-3,
    "checkpoint_every_steps": 10,
    "loss_spike": 1.0,
    "gpus": {"count": 1},
}


def test_batches_are_what_skipping_one_after_the_other_gives() -> None:
    skipped = [3, 4, 0, 9]
    left = [batch for batch in range(40) if batch not in skipped]
    assert batches_of(np.arange(1, 31), skipped).tolist() == left[:30]
    assert batches_of(np.arange(1, 31), []).tolist() == list(range(30))


@pytest.fixture
def spoilt(store: Store, shards: Manifest, recipe: Recipe) -> Manifest:
    """The shards, in which the sequences of one batch are noise that no document taught."""
    config, folder = recipe(**CALM), store.open(shards)
    opened = open_shards(folder)
    size = config.batch_sequences
    samples = np.arange(BAD_BATCH * size, (BAD_BATCH + 1) * size)
    rows = sequences_of(opened.order(config.seed), samples)
    table = opened.sequences.data.table.combine_chunks()
    dice = np.random.default_rng(1)

    def make(staging: Path) -> Made:
        for path in folder.rglob("*"):
            if path.is_file() and path.name not in {SEQUENCES, "manifest.json"}:
                target = staging / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
        columns = {name: np.stack(table.column(name).to_numpy(zero_copy_only=False)) for name in table.column_names}
        columns["input_ids"][rows] = columns["labels"][rows] = dice.integers(3, 256, columns["labels"][rows].shape)
        columns["labels"][rows, 0] = -100
        arrays = [
            pa.FixedSizeListArray.from_arrays(pa.array(columns[field.name].ravel()), opened.sequence_length)
            for field in table.schema
        ]
        with pa.ipc.new_stream(str(staging / SEQUENCES), table.schema) as writer:
            writer.write_batch(pa.record_batch(arrays, schema=table.schema))
        return Made({}, Classification.CONFIDENTIAL)

    request = StageRequest(kind="tokenized_shards", name="spoilt", inputs={}, parameters={}, code_version="1")
    return store.obtain(request, make).manifest


def test_a_loss_that_jumps_ends_training_at_its_step_and_names_samples_and_documents(
    store: Store, spoilt: Manifest, recipe: Recipe, environment: TrainingEnvironment
) -> None:
    steps: list[float] = []
    with pytest.raises(DataError, match=rf"^tiny: at step {BAD_BATCH + 1} the loss jumps to ") as caught:
        train("tiny", spoilt, recipe(**CALM), store, environment, lambda each: steps.append(each.done))
    size = CALM["batch_sequences"]
    assert f"on samples {BAD_BATCH * size} to {(BAD_BATCH + 1) * size - 1}, of " in str(caught.value)
    assert max(steps) == BAD_BATCH
    assert not list(store.manifests(kind="trained_checkpoint"))


@pytest.mark.parametrize(("steps", "ranks", "zero_stage"), [(2, 1, 1), (3, 2, 3)])
def test_a_step_that_ruins_the_weights_is_not_saved_be_it_the_last_or_not_and_training_goes_back_before_it(
    steps: int,
    ranks: int,
    zero_stage: int,
    store: Store,
    shards: Manifest,
    recipe: Recipe,
    environment: TrainingEnvironment,
) -> None:
    done: list[float] = []
    # Warm-up makes the first step's rate zero, and half of this one is more than fp32 holds.
    ruin = {"learning_rate": 1e39, "warmup_steps": 2, "checkpoint_every_steps": 1, "skip_batches": 1}
    config = recipe(**ruin, steps=steps, gpus={"count": ranks}, zero_stage=zero_stage)
    with pytest.raises(DataError, match=r"^tiny: after step 2 the weights \S+ are not finite, on samples 8 to 11, of "):
        train("tiny", shards, config, store, environment, lambda each: done.append(each.done if each.metrics else 0))
    assert [step for step in done if step] == [1, 2, 2]


def test_a_batch_is_skipped_after_going_back_and_the_manifest_says_so(
    store: Store, spoilt: Manifest, recipe: Recipe, environment: TrainingEnvironment
) -> None:
    said: list[Progress] = []
    config = recipe(**CALM, skip_batches=1)
    made = train("tiny", spoilt, config, store, environment, said.append).manifest
    assert made.counts["skipped_batches"] == [BAD_BATCH]
    assert any("they are skipped, and training goes back to the last checkpoint" in each.message for each in said)
    assert made.measured["resumed_from_step"] == 40
    record = json.loads((store.open(made) / RECORD).read_text())
    assert record["samples"] == [0, 122]
    assert record["skipped_batches"] == [BAD_BATCH]
    steps = [each.done for each in said if each.metrics]
    assert steps == [*range(1, BAD_BATCH + 1), *range(41, 61)]
