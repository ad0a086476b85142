"""A DeepSpeed configuration in the YAML says what the recipe leaves out, and contradicts nothing."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from adapting import one_rank, publish_base, publish_chats
from deepspeed.accelerator.cuda_accelerator import CUDA_Accelerator
from deepspeed.runtime.config import _REMOVED_TOP_LEVEL_CONFIG_KEYS, DeepSpeedConfig
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from forge_pipelines.errors import ConfigError
from forge_pipelines.manifest import Manifest
from forge_pipelines.progress import OnProgress, Progress, silent
from forge_pipelines.shards.config import Examples
from forge_pipelines.shards.reading import open_shards
from forge_pipelines.store import Store, hash_file
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.deepspeed_config import KEYS
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.recipe import Recipe, recipe_of
from forge_pipelines.training.stage import train
from forge_pipelines.training.worker.arguments import check_compiler
from forge_pipelines.training.worker.samples import SamplesInOrder
from forge_pipelines.training.worker.zero import adjust_deepspeed, deepspeed_config

TEXTS: Examples = "texts"
WEIGHTS = "model.safetensors"


def said(deepspeed: Mapping[str, Any], **recipe: Any) -> TrainingConfig:
    return TrainingConfig.model_validate({"steps": 1, "deepspeed": deepspeed, **recipe})


def settled(deepspeed: Mapping[str, Any], **recipe: Any) -> Recipe:
    config = said(deepspeed, **recipe)
    return recipe_of(config, 100, 32, "bf16" if config.precision == "bf16" else "fp32")


@pytest.mark.parametrize(
    ("deepspeed", "field", "value"),
    [
        ({"zero_optimization": {"stage": 2}}, "zero_stage", 2),
        ({"gradient_clipping": 0.5}, "max_gradient_norm", 0.5),
        ({"train_batch_size": 16}, "batch_sequences", 16),
        ({"train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 4}, "micro_batch_sequences", 2),
        ({"optimizer": {"type": "AdamW", "params": {"lr": "1e-5"}}}, "learning_rate", 1e-5),
        ({"bf16": {"enabled": True}}, "precision", "bf16"),
        ({"bf16": {"enabled": False}}, "precision", "fp32"),
        ({"zero_optimization": {"stage": 1, "offload_optimizer": {"device": "cpu"}}}, "offload", "optimizer"),
        ({"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}}, "offload", "parameters"),
    ],
)
def test_what_the_recipe_leaves_out_is_taken_from_it(deepspeed: Mapping[str, Any], field: str, value: Any) -> None:
    assert getattr(said(deepspeed), field) == value
    assert getattr(said(deepspeed, **{field: value}), field) == value
    again = said(deepspeed)
    assert TrainingConfig.model_validate(again.model_dump()) == again


def test_auto_is_what_the_recipe_says_and_sections_that_are_off_do_no_harm() -> None:
    deepspeed = {
        "train_batch_size": "auto",
        "gradient_clipping": "auto",
        "fp16": {"enabled": "auto"},
        "bf16": {"enabled": "auto"},
        "wandb": {"enabled": False},
        "elasticity": {"enabled": False},
        "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto", "eps": "auto"}},
        "zero_optimization": {"stage": "auto", "reduce_bucket_size": "auto"},
    }
    config, plain = deepspeed_config(settled(deepspeed, zero_stage=2)), deepspeed_config(settled({}, zero_stage=2))
    assert config == plain


def test_everything_else_is_handed_to_deepspeed_beside_what_the_recipe_says() -> None:
    zero = {"overlap_comm": True, "offload_optimizer": {"device": "cpu", "pin_memory": True}}
    deepspeed = {"steps_per_print": 7, "zero_optimization": zero, "optimizer": {"params": {"betas": [0.8, 0.9]}}}
    recipe = settled(deepspeed, zero_stage=3, precision="bf16")
    config = deepspeed_config(recipe)
    assert config["steps_per_print"] == 7
    assert config["zero_optimization"] == {**zero, "stage": 3, "stage3_gather_16bit_weights_on_model_save": True}
    assert config["bf16"] == {"enabled": True}
    assert "optimizer" not in config


def test_a_number_that_yaml_takes_for_a_text_is_the_recipes_and_an_empty_section_says_nothing() -> None:
    texts = {"gradient_clipping": "1e-1", "train_batch_size": "8", "zero_optimization": {"stage": "2"}}
    recipe = settled({**texts, "gradient_accumulation_steps": "1", "train_micro_batch_size_per_gpu": None})
    assert (recipe.max_gradient_norm, recipe.zero_stage) == (0.1, 2)
    assert deepspeed_config(recipe) == deepspeed_config(settled({}, zero_stage=2))
    empty = {"zero_optimization": None, "bf16": None, "aio": None}
    assert deepspeed_config(settled(empty)) == deepspeed_config(settled({}))


@pytest.mark.parametrize(
    ("offload", "sections"),
    [("none", set()), ("optimizer", {"offload_optimizer"}), ("parameters", {"offload_optimizer", "offload_param"})],
)
def test_offload_keeps_torchs_optimizer_which_needs_no_compiler(offload: str, sections: set[str]) -> None:
    config = deepspeed_config(settled({}, zero_stage=3, offload=offload))
    assert {key for key in config["zero_optimization"] if key.startswith("offload")} == sections
    assert config["zero_force_ds_cpu_optimizer"] is False


_BOTH = {
    "zero_stage": (
        {"zero_optimization": {"stage": 2}},
        1,
        r"zero_optimization\.stage is 2 and training\.zero_stage is 1",
    ),
    "max_gradient_norm": (
        {"gradient_clipping": 0.5},
        1.0,
        r"gradient_clipping is 0\.5 and .*max_gradient_norm is 1\.0",
    ),
    "batch_sequences": ({"train_batch_size": 16}, 8, "train_batch_size is 16 and training.batch_sequences is 8"),
    "micro_batch_sequences": (
        {"train_micro_batch_size_per_gpu": 2},
        4,
        "per_gpu is 2 and .*micro_batch_sequences is 4",
    ),
    "precision": ({"bf16": {"enabled": True}}, "fp32", r"bf16\.enabled is True and training\.precision is fp32"),
    "learning_rate": (
        {"optimizer": {"params": {"lr": 1e-5}}},
        1e-4,
        r"params\.lr is 1e-05 and .*learning_rate is 0\.0001",
    ),
    "weight_decay": (
        {"optimizer": {"params": {"weight_decay": 0}}},
        0.1,
        r"weight_decay is 0 and .*weight_decay is 0\.1",
    ),
    "offload": (
        {"zero_optimization": {"offload_optimizer": {"device": "cpu"}}},
        "none",
        r"offload_optimizer\.device is cpu and training\.offload is none",
    ),
}


@pytest.mark.parametrize("field", _BOTH)
def test_a_value_that_contradicts_the_recipe_is_refused_and_both_are_named(field: str) -> None:
    deepspeed, value, message = _BOTH[field]
    with pytest.raises(ValidationError, match=f"deepspeed.*{message}.*; say the same, or only one"):
        said(deepspeed, **{field: value})


@pytest.mark.parametrize(
    ("deepspeed", "message"),
    [
        ({"gradient_accumulation_steps": 4}, r"accumulation_steps is 4 and the recipe accumulates 1 \(.*sequences 8\)"),
        ({"fp16": {"enabled": True}}, r"deepspeed\.fp16 may not .* because the number format is training\.precision's"),
        ({"optimizer": {"type": "Lamb"}}, "optimizer.type is 'Lamb' and the recipe's optimizer is AdamW"),
        ({"optimizer": {"params": {"momentum": 1}}}, "momentum is not the recipe's to set; there are betas, eps"),
        ({"optimizer": {"params": {"betas": [0.9]}}}, "betas is .* it must be two numbers"),
        ({"scheduler": {"type": "WarmupLR"}}, "scheduler may not .* training.schedule"),
        ({"data_efficiency": {"enabled": True}}, "data_efficiency may not .* the order function's"),
        ({"curriculum_learning": {}}, "curriculum_learning may not .* the order function's"),
        ({"checkpoint": {"load_universal": True}}, "checkpoint may not .* written and verified by Forge"),
        ({"elasticity": {"enabled": True}}, "elasticity may not .* training.gpus"),
        ({"flops_profiler": {"enabled": True}}, "flops_profiler may not .* nothing leaves"),
        ({"tensorboard": {"enabled": True}}, "tensorboard may not .* nothing leaves"),
        ({"wandb": {"enabled": True}}, "wandb may not .* nothing leaves"),
        ({"comet": {"enabled": True}}, "comet may not .* nothing leaves"),
        ({"zero_optimization": True}, "zero_optimization is True; it must be a mapping"),
        ({"zero_optimization": {"reduce_bucket_size": 0}}, "size is 0; it must be a number from 1 on, or auto"),
        ({"zero_optimization": {"max_live_parameters": ".inf"}}, "parameters is '.inf'; it must be a number from 0 on"),
        ({"gradient_clipping": "some"}, "gradient_clipping is 'some'; it must be a number, or auto"),
        ({"bf16": {"enabled": "yes"}}, "bf16.enabled is 'yes'; it must be true or false"),
        ({"zero_optimization": {"stage3_gather_16bit_weights_on_model_save": False}}, "weights are to be published"),
    ],
)
def test_what_the_recipe_or_the_house_decides_may_not_stand_there(deepspeed: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        said(deepspeed)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            {"batch_tokens": 512, "deepspeed": {"train_batch_size": 8}},
            "train_batch_size and training.batch_tokens both",
        ),
        ({"offload": "optimizer", "zero_stage": 0}, "offload: optimizer needs zero_stage: 1 or more, not 0"),
        ({"compile": True, "objective": "dpo"}, "compile needs sequences of one length"),
    ],
)
def test_options_that_do_not_go_together_are_refused(recipe: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingConfig.model_validate({"steps": 1, **recipe})


def test_a_recipe_is_checked_without_importing_torch_or_deepspeed() -> None:
    code = (
        "import sys; from forge_pipelines.training.config import TrainingConfig as C; "
        "C(steps=1, deepspeed={'gradient_clipping': 1.0}); print({'torch', 'deepspeed'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


def test_what_deepspeed_itself_refuses_ends_in_one_sentence(store: Store, tmp_path: Path, forge_cache: Path) -> None:
    shards = publish_chats(store, publish_base(store), TEXTS)
    environment = TrainingEnvironment(forge_cache, tmp_path / "logs")
    recipe = one_rank(deepspeed={"zero_optimization": {"stage": 2, "overlap_com": True}})
    with pytest.raises(
        ConfigError, match=r"^tiny: DeepSpeed does not take .* overlap_com is True \(Extra inputs"
    ) as error:
        train("tiny", shards, recipe, store, environment)
    assert "\n" not in str(error.value)


def test_a_compiled_network_has_the_loss_of_the_plain_one_and_goes_on_bit_by_bit_after_a_kill(
    tmp_path: Path, forge_cache: Path
) -> None:
    environment = TrainingEnvironment(forge_cache, tmp_path / "logs")
    recipe = one_rank(steps=6, compile=True, batch_sequences=8, checkpoint_every_steps=2)

    def compiled(store: Store, on_progress: OnProgress = silent) -> Manifest:
        shards = publish_chats(store, publish_base(store, num_hidden_layers=1), TEXTS)
        return train("tiny", shards, recipe, store, environment, on_progress).manifest

    def kill(progress: Progress) -> None:
        if progress.done == 3:
            raise KeyboardInterrupt

    whole, killed = (Store(str(tmp_path / name / "store"), tmp_path / name / "scratch") for name in ("whole", "killed"))
    published = compiled(whole)
    assert list((forge_cache / "inductor").rglob("*.so"))
    base, shards = whole.latest("small", "base_model"), whole.latest(TEXTS, "tokenized_shards")
    network = AutoModelForCausalLM.from_pretrained(whole.open(base))
    samples = SamplesInOrder(open_shards(whole.open(shards)), recipe_of(recipe, None, None, "fp32"))
    with torch.no_grad():
        loss = network(**samples.__getitems__(range(8)), use_cache=False).loss.item()
    history = json.loads((whole.open(published) / "history.json").read_text())
    assert history[0]["loss"] == pytest.approx(loss, rel=1e-5)
    assert history[-1]["loss"] < history[0]["loss"]

    with pytest.raises(KeyboardInterrupt):
        compiled(killed, kill)
    again = compiled(killed)
    assert again.measured["resumed_from_step"] in {2, 4}  # it may have got further than was heard
    assert hash_file(killed.open(again) / WEIGHTS) == hash_file(whole.open(published) / WEIGHTS)


def test_without_a_compiler_nothing_is_compiled_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    check_compiler(settled({}))
    with pytest.raises(ConfigError, match=r"there is no g\+\+; install it, or set training.compile: false"):
        check_compiler(settled({}, compile=True))


def test_gradient_checkpointing_offload_and_the_whole_configuration_leave_training_as_it_is(
    store: Store, tmp_path: Path, forge_cache: Path
) -> None:
    shards = publish_chats(store, publish_base(store), TEXTS)
    environment = TrainingEnvironment(forge_cache, tmp_path / "logs")
    deepspeed = {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}, "steps_per_print": 1}
    plain = train("tiny", shards, one_rank(steps=3, zero_stage=2), store, environment).manifest
    other = train(
        "tiny", shards, one_rank(steps=3, gradient_checkpointing=True, deepspeed=deepspeed), store, environment
    ).manifest
    assert other.key != plain.key
    weights = [{file.path: file.sha256 for file in each.files}["model.safetensors"] for each in (plain, other)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(("key", "advice"), [("zero_optimisation", "write zero_optimization"), ("fast", "remove it")])
def test_a_key_that_deepspeed_does_not_know_is_refused(key: str, advice: str) -> None:
    with pytest.raises(ValidationError, match=rf"deepspeed\.{key} is nothing that DeepSpeed knows; {advice}"):
        said({key: {"stage": 2}})


def test_every_key_that_deepspeed_looks_for_is_known() -> None:
    looked_for = set[str]()

    class Watched(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            looked_for.add(key)
            return super().get(key, default)

        def __contains__(self, key: object) -> bool:
            looked_for.add(str(key))
            return super().__contains__(key)

        def keys(self) -> Any:  # it asks for some among the keys
            return self

    DeepSpeedConfig(Watched(train_batch_size=1))
    assert {"zero_optimization", "steps_per_print", "optimizer", "flops_profiler"} < looked_for <= KEYS


def test_what_deepspeed_has_removed_is_refused_where_it_is_on_and_left_out_where_it_is_off() -> None:
    for key in _REMOVED_TOP_LEVEL_CONFIG_KEYS:
        with pytest.raises(ValidationError, match=rf"deepspeed\.{key} may not stand there"):
            said({key: {"enabled": True}})
        assert key not in deepspeed_config(settled({key: {"enabled": False}}))


def test_deepspeed_asks_cuda_for_memory_whatever_a_lease_calls_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-86ec9c67-c95e-609d-2d84-71bf43e035ad")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _index: (7, 9))
    adjust_deepspeed(settled({}))
    assert CUDA_Accelerator().available_memory() == 7
