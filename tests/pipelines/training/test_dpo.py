"""Training on pairs: the better answer gains on the base, in our order, and through a kill."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from adapting import one_rank, publish_base, publish_pairs, train_until_killed
from transformers import AutoModelForCausalLM
from trl.trainer.dpo_trainer import DataCollatorForPreference

from forge_pipelines.manifest import Manifest
from forge_pipelines.progress import Progress
from forge_pipelines.shards.order import sequences_of
from forge_pipelines.shards.reading import open_shards
from forge_pipelines.store import Store
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.recipe import Recipe, recipe_of
from forge_pipelines.training.stage import train
from forge_pipelines.training.worker.preferences import count_answers
from forge_pipelines.training.worker.samples import PairsInOrder

RECIPE = {"objective": "dpo", "steps": 20, "batch_sequences": 8, "learning_rate": 3e-3, "checkpoint_every_steps": 4}


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory, forge_cache: Path) -> tuple[Store, Manifest, list[Progress]]:
    """A training that nothing interrupts, its store, and what it reported."""
    root = tmp_path_factory.mktemp("control")
    store = Store(str(root / "store"), root / "scratch")
    reports: list[Progress] = []
    environment = TrainingEnvironment(forge_cache, root / "logs")
    shards = publish_pairs(store, publish_base(store))
    return store, train("tiny", shards, one_rank(**RECIPE), store, environment, reports.append).manifest, reports


def settled() -> Recipe:
    return recipe_of(one_rank(**RECIPE), None, None, "fp32")


def pairs_in(store: Store) -> PairsInOrder:
    return PairsInOrder(open_shards(store.open(store.latest("preferences", "tokenized_shards"))), settled())


def test_pairs_come_whole_and_in_the_order_of_the_function(control: tuple[Store, Manifest, list[Progress]]) -> None:
    store, _, _ = control
    shards = open_shards(store.open(store.latest("preferences", "tokenized_shards")))
    pairs, rows = pairs_in(store), shards.sequences.with_format(None)
    samples = [0, 7, 41, 159]
    expected = [rows[int(row)] for row in sequences_of(shards.order(0), np.array(samples))]
    assert pairs.__getitems__(samples) == expected
    assert len(pairs) == 160
    lengths = [2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in rows]
    assert pairs.tokens_each == pytest.approx(np.mean(lengths))


def test_the_better_answer_gains_on_the_base(control: tuple[Store, Manifest, list[Progress]]) -> None:
    store, published, reports = control
    steps = [report.metrics for report in reports if report.metrics]
    assert steps[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert steps[0]["rewards/margins"] == 0
    assert steps[-1]["rewards/accuracies"] == 1
    networks = [AutoModelForCausalLM.from_pretrained(store.open(each)) for each in (base_in(store), published)]
    base, trained = (
        [margin(network, pair) for pair in pairs_in(store).__getitems__(range(40))] for network in networks
    )
    assert np.mean(np.array(trained) > np.array(base)) > 0.9


def base_in(store: Store) -> Manifest:
    return store.latest("small", "base_model")


def margin(network: torch.nn.Module, pair: dict[str, list[int]]) -> float:
    """How much likelier the better answer is than the worse one, in nats."""
    return likelihood(network, pair["prompt_ids"], pair["chosen_ids"]) - likelihood(
        network, pair["prompt_ids"], pair["rejected_ids"]
    )


def likelihood(network: torch.nn.Module, prompt: list[int], answer: list[int]) -> float:
    ids = torch.tensor([prompt + answer])
    with torch.no_grad():
        logprobs = network(ids, use_cache=False).logits[0].log_softmax(-1)
    return float(logprobs[range(len(prompt) - 1, len(prompt) + len(answer) - 1), answer].sum())


def test_the_tokens_of_both_answers_are_counted_once(control: tuple[Store, Manifest, list[Progress]]) -> None:
    store, published, _ = control
    pairs = pairs_in(store).__getitems__(range(160))
    expected = sum(len(pair["chosen_ids"]) + len(pair["rejected_ids"]) for pair in pairs)
    assert published.counts["tokens_trained"] == expected


def test_a_masked_pair_is_not_counted_and_of_shards_without_masks_every_pair_is() -> None:
    collator = DataCollatorForPreference(pad_token_id=0)
    batch = collator(
        [
            {"prompt_ids": [5], "chosen_ids": [6, 7], "rejected_ids": [8]},
            {"prompt_ids": [0], "chosen_ids": [0], "rejected_ids": [0]},
        ]
    )
    assert int(count_answers(batch, masked=True)) == 3
    assert int(count_answers(batch, masked=False)) == 5


def test_a_killed_training_on_pairs_goes_on_to_the_very_same_weights(
    control: tuple[Store, Manifest, list[Progress]], tmp_path: Path, forge_cache: Path
) -> None:
    store = Store(str(tmp_path / "store"), tmp_path / "scratch")
    shards = publish_pairs(store, publish_base(store))
    train_until_killed(tmp_path, forge_cache, shards, one_rank(**RECIPE), step=9)
    environment = TrainingEnvironment(forge_cache, tmp_path / "logs")
    resumed = train("tiny", shards, one_rank(**RECIPE), store, environment).manifest
    assert resumed.measured["resumed_from_step"] >= 8
    assert resumed.fingerprint == control[1].fingerprint
    history = [store.open(each) / "history.json" for store, each in ((store, resumed), control[:2])]
    assert json.loads(history[0].read_text()) == json.loads(history[1].read_text())


def test_an_adapter_over_two_ranks_is_held_to_the_base_without_it(
    control: tuple[Store, Manifest, list[Progress]], tmp_path: Path, forge_cache: Path
) -> None:
    store, reports = control[0], list[Progress]()
    recipe = one_rank(**{**RECIPE, "steps": 5, "lora": {"rank": 4}, "zero_stage": 2, "gpus": {"count": 2}})
    shards = store.latest("preferences", "tokenized_shards")
    environment = TrainingEnvironment(forge_cache, tmp_path / "logs")
    published = train("tiny", shards, recipe, store, environment, reports.append).manifest
    losses = [report.metrics["loss"] for report in reports if report.metrics]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-6)
    assert losses[-1] < losses[0]
    assert published.counts["trained_parameters"] < published.counts["parameters"] / 4
    pairs = pairs_in(store).__getitems__(range(40))
    assert published.counts["tokens_trained"] == sum(len(pair["chosen_ids"] + pair["rejected_ids"]) for pair in pairs)
