"""A recipe in which nothing is left open: its length in steps, its batch, its precision, whether it is compiled."""

import math
from fractions import Fraction
from typing import Literal

from forge_pipelines.errors import ConfigError
from forge_pipelines.manifest import Manifest
from forge_pipelines.training.config import Objective, TrainingConfig
from forge_pipelines.training.precision import has_fast_bf16, settled_device, settled_precision

GATHERING_STAGE = 3
"""From this ZeRO stage on a layer waits for the weights of each of its parts; so it is not compiled."""


class Recipe(TrainingConfig):
    """What the ranks are told, and what a training is known by."""

    objective: Objective
    steps: int
    batch_sequences: int
    precision: Literal["fp32", "bf16"]
    compile: bool


def settle(config: TrainingConfig, shards: Manifest) -> Recipe:
    """Return the recipe for some shards, on this machine.

    Raises:
        ConfigError: see `recipe_of`.
    """
    counts, precision = shards.counts, settled_precision(config)
    gains = settled_device(config) == "cuda" and has_fast_bf16("cuda")
    sizes = counts.get("sequences"), counts.get("sequence_length")
    return recipe_of(config, *sizes, precision, gains_by_compiling=gains)


def recipe_of(
    config: TrainingConfig,
    num_sequences: int | None,
    sequence_length: int | None,
    precision: Literal["fp32", "bf16"],
    *,
    gains_by_compiling: bool = False,
) -> Recipe:
    """Return the recipe that a configuration gives.

    Args:
        num_sequences: sequences of the shards: one epoch. Needed where the length is said in epochs.
        sequence_length: tokens a sequence. Needed where the length or the batch is said in tokens.
        precision: what `precision: auto` has become.
        gains_by_compiling: whether its ranks have GPUs that multiply bf16.

    Raises:
        ConfigError: the batch is smaller than what the ranks work on at once.
    """
    batch = _batch_sequences(config, sequence_length)
    objective: Objective = config.objective or ("continue" if config.architecture is None else "pretrain")
    said = config.model_dump(exclude={"epochs", "tokens", "batch_tokens"})
    steps = _steps(config, batch, num_sequences, sequence_length)
    settled = {"objective": objective, "steps": steps, "batch_sequences": batch, "precision": precision}
    if config.compile is None:
        # Pairs are of many lengths, each of which would be compiled anew.
        settled["compile"] = gains_by_compiling and precision == "bf16" and objective != "dpo"
    return Recipe.model_validate({**said, **settled})


def _batch_sequences(config: TrainingConfig, sequence_length: int | None) -> int:
    if config.batch_tokens is None:
        return config.batch_sequences
    assert sequence_length is not None
    at_once = config.ranks * (config.micro_batch_sequences or 1)
    batch = config.batch_tokens // sequence_length // at_once * at_once
    if batch == 0:
        needed = f"{at_once} sequences of {sequence_length} tokens, which its ranks work on at once"
        raise ConfigError(f"training.batch_tokens ({config.batch_tokens}) is less than {needed}; raise it")
    return batch


def _steps(config: TrainingConfig, batch: int, num_sequences: int | None, sequence_length: int | None) -> int:
    if config.epochs is not None:
        assert num_sequences is not None
        # Exactly: in binary, 1.1 epochs of 50 sequences are a little more than 55.
        return math.ceil(Fraction(str(config.epochs)) * num_sequences / batch)
    if config.tokens is not None:
        assert sequence_length is not None
        return -(-config.tokens // (batch * sequence_length))
    assert config.steps is not None
    return config.steps
