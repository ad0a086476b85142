"""Training on chats learns the answers, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from adapting import one_rank, publish_base, publish_chats
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from forge_pipelines.errors import ConfigError
from forge_pipelines.shards.reading import open_shards
from forge_pipelines.store import Store
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.recipe import recipe_of
from forge_pipelines.training.stage import train
from forge_pipelines.training.worker.samples import SamplesInOrder, check_shards

SFT = {"objective": "sft", "steps": 40, "batch_sequences": 8}


def test_only_answers_are_learned(store: Store, tmp_path: Path, forge_cache: Path) -> None:
    base = publish_base(store)
    shards = publish_chats(store, base)
    recipe = recipe_of(one_rank(**SFT), None, None, "fp32")
    environment = TrainingEnvironment(forge_cache, tmp_path / "logs")
    published = train("tiny", shards, one_rank(**SFT), store, environment).manifest
    samples = SamplesInOrder(open_shards(store.open(shards)), recipe)
    before, after = (AutoModelForCausalLM.from_pretrained(store.open(each)) for each in (base, published))
    first = losses(before, samples.__getitems__(range(8)))["answers"]
    first.backward()
    norm = torch.stack([each.grad.norm() for each in before.parameters() if each.grad is not None]).norm()
    [entry, *_] = json.loads((store.open(published) / "history.json").read_text())
    assert entry["loss"] == pytest.approx(first.item(), rel=1e-5)
    assert entry["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)
    every = samples.__getitems__(range(64))
    untrained, trained = losses(before, every), losses(after, every)
    assert trained["answers"] < untrained["answers"] - 2
    assert trained["questions"] > untrained["questions"]
    assert published.counts["tokens_trained"] == int((samples.__getitems__(range(320))["labels"] != -100).sum())


def losses(network: Any, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Mean cross-entropy of what a chat's answers say, and of what its questions say after their first word."""
    ids, positions, labels = batch["input_ids"], batch["position_ids"], batch["labels"]
    logits = network(input_ids=ids, position_ids=positions, use_cache=False).logits[:, :-1]
    each = cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    answers = labels[:, 1:] != -100
    return {"answers": each[answers].mean(), "questions": each[~answers & (positions[:, 1:] > 0)].mean()}


@pytest.mark.parametrize(
    ("recipe", "window", "message"),
    [
        ({"objective": "dpo"}, 64, "objective is dpo, which learns from preferences, and the shards hold chats"),
        ({"objective": "continue"}, 64, "objective is continue, which learns from texts, and the shards hold chats"),
        ({"objective": "sft"}, 16, r"sequences of 24 tokens are longer .* 16\); lower shards.sequence_length"),
    ],
)
def test_shards_that_do_not_go_with_the_recipe_or_the_network_are_refused(
    recipe: dict[str, Any], window: int, message: str, store: Store
) -> None:
    shards = open_shards(store.open(publish_chats(store, publish_base(store))))
    with pytest.raises(ConfigError, match=message):
        check_shards(shards, recipe_of(one_rank(**recipe), None, None, "fp32"), window)
