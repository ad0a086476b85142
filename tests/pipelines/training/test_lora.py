"""Low-rank adapters: the base stays, the adapter is trained, kept, and merged into what is published."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from adapting import LENGTH, SIZES, VOCABULARY, one_rank, publish_base, publish_chats, train_until_killed
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import Manifest
from forge_pipelines.progress import Progress
from forge_pipelines.store import Store
from forge_pipelines.training.config import LoraConfig, TrainingConfig
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.stage import train
from forge_pipelines.training.worker.adapters import adapter_config, with_adapter

RECIPE = {"objective": "sft", "lora": {"rank": 4, "dropout": 0.1}, "zero_stage": 3, "checkpoint_every_steps": 2}


@dataclass(frozen=True)
class Adapted:
    """A training of an adapter that nothing interrupts."""

    root: Path
    store: Store
    base: Manifest
    shards: Manifest
    published: Manifest


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory, forge_cache: Path) -> Adapted:
    """One rank under ZeRO stage 3, whose checkpoints hold no weight of the base."""
    root = tmp_path_factory.mktemp("adapted")
    store = Store(str(root / "store"), root / "scratch")
    base = publish_base(store)
    shards = publish_chats(store, base)
    environment = TrainingEnvironment(forge_cache, root / "logs")
    return Adapted(root, store, base, shards, train("tiny", shards, one_rank(**RECIPE), store, environment).manifest)


def weights_hash(published: Manifest) -> str:
    return next(file.sha256 for file in published.files if file.path == "model.safetensors")


def test_the_base_with_the_adapter_is_what_was_published(adapted: Adapted) -> None:
    folder = adapted.store.open(adapted.published)
    published = AutoModelForCausalLM.from_pretrained(folder)
    base = AutoModelForCausalLM.from_pretrained(adapted.store.open(adapted.base))
    ids = torch.randint(VOCABULARY, (4, LENGTH), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        untrained = base(ids).logits
        beside = PeftModel.from_pretrained(base, folder / "adapter")(ids).logits
        whole = published(ids).logits
    assert (beside - whole).abs().max() <= 1e-5
    assert (untrained - whole).abs().max() > 1e-2


def test_only_what_the_adapter_adapts_has_changed(adapted: Adapted) -> None:
    before, after = (
        load_file(adapted.store.open(each) / "model.safetensors") for each in (adapted.base, adapted.published)
    )
    changed = {name.split(".")[-2] for name, weights in after.items() if not torch.equal(weights, before[name])}
    assert changed == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    counts = adapted.published.counts
    assert counts["parameters"] == sum(weights.numel() for weights in before.values())
    assert counts["trained_parameters"] == 4 * 2 * (2 * (32 + 32) + 2 * (32 + 16) + 3 * (32 + 64))


def test_the_kept_adapter_names_nothing_of_this_machine(adapted: Adapted) -> None:
    folder = adapted.store.open(adapted.published) / "adapter"
    assert {path.name for path in folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    said = (folder / "adapter_config.json").read_text()
    assert str(adapted.root) not in said
    assert json.loads(said)["target_modules"] == sorted(json.loads(said)["target_modules"])


def test_a_killed_training_of_an_adapter_goes_on_to_the_very_same_weights(
    adapted: Adapted, tmp_path: Path, forge_cache: Path
) -> None:
    store = Store(str(tmp_path / "store"), tmp_path / "scratch")
    shards = publish_chats(store, publish_base(store))
    train_until_killed(tmp_path, forge_cache, shards, one_rank(**RECIPE), step=4)
    sealed = [marker.parent for marker in tmp_path.rglob("checkpoint-*/complete.json")]
    states = [path for folder in sealed for path in folder.rglob("*model_states.pt")]
    saved = [torch.load(path, weights_only=False)["module"] for path in states]
    assert saved
    assert all("lora_" in name for module in saved for name in module)
    published = train("tiny", shards, one_rank(**RECIPE), store, TrainingEnvironment(forge_cache, tmp_path / "logs"))
    assert published.manifest.measured["resumed_from_step"] >= 2
    assert weights_hash(published.manifest) == weights_hash(adapted.published)
    assert published.manifest.fingerprint == adapted.published.fingerprint


def test_an_adapter_that_is_not_finite_once_it_is_merged_is_trained_again_from_before_its_last_checkpoint(
    adapted: Adapted, forge_cache: Path
) -> None:
    said: list[Progress] = []
    # Its two matrices are finite, and so is their checkpoint; their product times alpha is more than fp32 holds.
    ruin = {"learning_rate": 1e34, "lora": {"rank": 4, "alpha": 10**8}, "steps": 1, "skip_batches": 1}
    environment = TrainingEnvironment(forge_cache, adapted.root / "logs")
    with pytest.raises(DataError, match=r"^tiny: after the last step, 1, the weights \S+ are not finite, on "):
        train("tiny", adapted.shards, one_rank(**{**RECIPE, **ruin}), adapted.store, environment, said.append)
    assert [each.done for each in said if each.metrics] == [1, 1]


def test_over_two_ranks_and_in_another_zero_stage_the_weights_come_out_the_same(
    adapted: Adapted, tmp_path: Path, forge_cache: Path
) -> None:
    # Without dropout, whose mask is each rank's own.
    recipes: Iterator[TrainingConfig] = (
        one_rank(**{**RECIPE, "lora": {"rank": 4}, "zero_stage": stage, "gpus": {"count": ranks}})
        for stage, ranks in ((2, 2), (0, 1))
    )
    environment = TrainingEnvironment(forge_cache, tmp_path / "logs")
    folders = [
        adapted.store.open(train("tiny", adapted.shards, recipe, adapted.store, environment).manifest)
        for recipe in recipes
    ]
    two, one = (load_file(folder / "model.safetensors") for folder in folders)
    assert all(torch.allclose(two[name], weights, atol=1e-5) for name, weights in one.items())


def test_a_target_that_is_no_layer_is_named_with_the_layers_that_there_are() -> None:
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SIZES, vocab_size=VOCABULARY))
    for target in ("query", "lm_head", "embed_tokens", "layers.0.self_attn"):
        message = (
            rf"targets names {target}, .*; there are down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"
        )
        with pytest.raises(ConfigError, match=message):
            adapter_config(network, LoraConfig(targets=("q_proj", target)))


def test_named_targets_alone_are_adapted_the_same_way_for_the_same_seed() -> None:
    def parameters(seed: int) -> dict[str, torch.Tensor]:
        network = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SIZES, vocab_size=VOCABULARY))
        adapted = with_adapter(network, LoraConfig(rank=2, targets=("v_proj",)), seed)
        return {name: each for name, each in adapted.named_parameters() if each.requires_grad}

    first, again, other = parameters(1), parameters(1), parameters(2)
    assert {name.split(".")[-4] for name in first} == {"v_proj"}
    assert all(torch.equal(weights, again[name]) for name, weights in first.items())
    assert not all(torch.equal(weights, other[name]) for name, weights in first.items())
