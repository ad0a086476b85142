"""A recipe says one thing, and what it leaves open is settled by the shards and the machine."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from forge_pipelines.errors import ConfigError
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.recipe import recipe_of

Recipe = Callable[..., TrainingConfig]


@pytest.mark.parametrize(
    ("length", "steps"),
    [
        ({"steps": 7}, 7),
        ({"epochs": 1.0}, 25),
        ({"epochs": 2.5}, 63),
        ({"epochs": 1.12}, 28),
        ({"tokens": 4 * 32 * 10}, 10),
        ({"tokens": 4 * 32 * 10 + 1}, 11),
    ],
)
def test_a_length_in_epochs_or_tokens_becomes_whole_steps(
    recipe: Recipe, length: Mapping[str, Any], steps: int
) -> None:
    settled = recipe_of(recipe(**{"steps": None, **length}), num_sequences=100, sequence_length=32, precision="fp32")
    assert settled.steps == steps
    assert settled == recipe_of(recipe(steps=steps), num_sequences=100, sequence_length=32, precision="fp32")


def test_a_batch_in_tokens_is_as_many_sequences_as_the_ranks_can_share(recipe: Recipe) -> None:
    said = recipe().model_dump(exclude={"batch_sequences"})
    config = TrainingConfig.model_validate({**said, "batch_tokens": 32 * 7, "micro_batch_sequences": 2})
    assert recipe_of(config, 100, 32, "fp32").batch_sequences == 4
    with pytest.raises(ConfigError, match=r"batch_tokens \(224\) is less than 4 sequences of 64 tokens"):
        recipe_of(config, 100, 64, "fp32")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": None}, "does not say how long training is; give one of steps, epochs and tokens"),
        ({"epochs": 2}, "says steps and epochs; give one of"),
        ({"batch_tokens": 4096}, "says batch_sequences and batch_tokens; give one of them"),
        ({"batch_sequences": 3}, r"batch_sequences \(3\) is no multiple of 2 ranks"),
        ({"objective": "sft"}, "sft goes on from a base; remove training.architecture"),
        ({"objective": "pretrain", "architecture": None}, "pretrain begins from scratch; describe the network"),
        ({"lora": {"rank": 4}}, "lora adapts a base"),
        ({"objective": "dpo", "architecture": None, "steps": None, "tokens": 9}, "give steps or epochs, not tokens"),
        ({"checkpoint_every_steps": 4, "keep_every_steps": 6}, "only what is saved can be kept"),
        ({"offload": "parameters"}, "offload: parameters needs zero_stage: 3, not 1"),
        ({"lora": {"ranks": 4}, "architecture": None}, "Extra inputs are not permitted"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused_in_one_sentence(
    recipe: Recipe, changes: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        recipe(**changes)
