"""The formula of a rank's memory: held against what autograd saves, and against real ranks."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import planned
import psutil
import pytest
import torch
from accelerate.utils.other import compile_regions_deepspeed
from transformers import AutoConfig, AutoModelForCausalLM

from forge_pipelines.manifest import Manifest
from forge_pipelines.store import Store
from forge_pipelines.training.config import LoraConfig, TrainingConfig
from forge_pipelines.training.memory import Memory, activation_bytes, layout_of, memory_of
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.recipe import recipe_of, settle
from forge_pipelines.training.sizing import NetworkShape, SizingJob, size_up
from forge_pipelines.training.stage import train
from forge_pipelines.training.worker.adapters import adapter_size, with_adapter

WIDTHS = {"hidden_size": 256, "intermediate_size": 704, "num_attention_heads": 8}
FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "llama": {"num_key_value_heads": 4},
    "mistral": {"num_key_value_heads": 2},
    "qwen2": {"num_key_value_heads": 4},
    "qwen3": {"num_key_value_heads": 4, "head_dim": 64},
    "olmo2": {"num_key_value_heads": 4},
    "mixtral": {"num_key_value_heads": 4, "num_local_experts": 4, "num_experts_per_tok": 2},
    "gpt_neox": {"intermediate_size": 1024},
}
BATCH, LENGTH, VOCABULARY = 2, 128, 512
_RANK, _LAUNCHER = "forge_pipelines.training.worker", "forge_pipelines.training.worker.launch"


def architecture(family: str, layers: int = 2) -> dict[str, Any]:
    return {"model_type": family, "num_hidden_layers": layers, **WIDTHS, **FAMILIES[family]}


def shape_of(described: Mapping[str, Any], vocabulary: int = VOCABULARY) -> NetworkShape:
    """Return a network's sizes, as its own process gives them; each network is asked for once."""
    return _sized(json.dumps(described), vocabulary)


@cache
def _sized(described: str, vocabulary: int) -> NetworkShape:
    job = SizingJob(
        architecture=json.loads(described),
        base=None,
        vocabulary=vocabulary,
        lora=LoraConfig(),
        sequence_length=32,
        precision="fp32",
    )
    with TemporaryDirectory() as folder:
        return size_up("tiny", job, Path(folder) / "log").shape


def saved_bytes(network: Any) -> int:
    """Return the bytes that autograd keeps after a forward pass, each storage counted once, weights left out."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    saved: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.randint(VOCABULARY, (BATCH, LENGTH))
    positions = (torch.arange(LENGTH) % (LENGTH // 2)).repeat(BATCH, 1)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = network(input_ids=ids, position_ids=positions, labels=ids, use_cache=False)
        assert output.loss.isfinite()
    return sum(saved.values())


@pytest.mark.parametrize("number_bytes", [4, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_activations_of_a_layer_are_what_autograd_saves(family: str, number_bytes: int) -> None:
    def of_layers(layers: int) -> int:
        config = AutoConfig.for_model(**architecture(family, layers), vocab_size=VOCABULARY, pad_token_id=None)
        dtype = torch.float32 if number_bytes == 4 else torch.bfloat16
        return saved_bytes(AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa"))

    real = (of_layers(2) - of_layers(1)) / (BATCH * LENGTH)
    layout = planned.layout(number_bytes=number_bytes, micro_batch=BATCH, sequence_length=LENGTH)
    assert activation_bytes(shape_of(architecture(family)), layout, on_gpu=False) == pytest.approx(real, rel=0.02)


@pytest.mark.parametrize("family", ["llama", "qwen3", "olmo2", "mixtral"])
def test_a_compiled_layer_saves_no_more_than_planned_and_not_much_less(family: str) -> None:
    def of_layers(layers: int) -> int:
        config = AutoConfig.for_model(**architecture(family, layers), vocab_size=VOCABULARY, pad_token_id=None)
        network = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
        compile_regions_deepspeed(network)
        return saved_bytes(network)

    real = (of_layers(2) - of_layers(1)) / (BATCH * LENGTH)
    layout = planned.layout(micro_batch=BATCH, sequence_length=LENGTH, compiled=True)
    planned_bytes = activation_bytes(shape_of(architecture(family)), layout, on_gpu=False)
    assert real <= planned_bytes <= 1.15 * real


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_are_counted_without_making_them(family: str) -> None:
    shape = shape_of(architecture(family))
    config = AutoConfig.for_model(**architecture(family), vocab_size=VOCABULARY, pad_token_id=None)
    real = AutoModelForCausalLM.from_config(config)
    assert shape.parameters == sum(weight.numel() for weight in real.parameters())
    assert shape.looked_up == VOCABULARY * WIDTHS["hidden_size"]
    assert bool(shape.idle) == (family == "mixtral")


def test_an_adapters_parameters_are_counted_without_making_it() -> None:
    lora = LoraConfig(rank=4, targets=("q_proj", "down_proj"))
    config = AutoConfig.for_model(**architecture("mistral"), vocab_size=VOCABULARY, pad_token_id=None)
    real = with_adapter(AutoModelForCausalLM.from_config(config), lora, seed=0)
    trained = sum(weight.numel() for weight in real.parameters() if weight.requires_grad)
    assert adapter_size(AutoModelForCausalLM.from_config(config), lora) == trained


def test_seven_billion_parameters_are_counted_in_a_small_process() -> None:
    assert shape_of({"model_type": "mistral"}, 32000) == planned.MISTRAL_7B


@contextmanager
def peaks() -> Iterator[dict[int, int]]:
    """Collect the peak memory of each rank that this process starts, in bytes."""
    found: dict[int, int] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            for process in psutil.Process().children(recursive=True):
                try:
                    # What a rank forks for a moment has its command line, and the rank for a parent.
                    launcher = process.parent()
                    if launcher and _LAUNCHER in launcher.cmdline() and _RANK in process.cmdline():
                        status = Path(f"/proc/{process.pid}/status").read_text()
                        found[process.pid] = int(status.partition("VmHWM:")[2].split()[0]) * 1024
                except (psutil.NoSuchProcess, OSError, IndexError):
                    continue

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()


@pytest.mark.parametrize("case", [("bf16", 1, 1, False), ("fp32", 2, 2, True)], ids=str)
def test_a_rank_takes_the_memory_that_was_planned(
    store: Store,
    shards: Manifest,
    recipe: Callable[..., TrainingConfig],
    environment: TrainingEnvironment,
    case: tuple[str, int, int, bool],
) -> None:
    precision, zero_stage, ranks, recomputed = case
    settings = {"precision": precision, "zero_stage": zero_stage, "gpus": {"count": ranks}, "steps": 2}
    with peaks() as bare:
        train("bare", shards, recipe(**settings, batch_sequences=ranks), store, environment)
    # Enough at once that it would not be near if all activations were kept.
    at_once = {"batch_sequences": (48 if recomputed else 16) * ranks, "gradient_checkpointing": recomputed}
    config = recipe(**settings, **at_once, architecture=planned.MIDDLING)
    with peaks() as real:
        train("middling", shards, config, store, environment)
    memory = memory_of(shape_of(planned.MIDDLING, 300), layout_of(settle(config, shards), 32), on_gpu=False)
    assert len(real) == len(bare) == ranks
    measured = max(real.values()) - max(bare.values())
    assert memory.total - memory.runtime == pytest.approx(measured, rel=0.35)
    assert memory.runtime == pytest.approx(max(bare.values()), rel=0.35)


@pytest.mark.parametrize("number_bytes", [4, 2])
def test_a_higher_stage_never_takes_more_states_and_over_several_ranks_takes_less(number_bytes: int) -> None:
    def states(stage: int, ranks: int) -> int:
        layout = planned.layout(number_bytes=number_bytes, zero_stage=stage, ranks=ranks)
        memory = memory_of(planned.MISTRAL_7B, layout, on_gpu=True)
        return memory.weights + memory.gradients + memory.optimizer

    assert states(1, 1) == states(2, 1) == states(3, 1)
    assert states(1, 8) > states(2, 8) > states(3, 8) == states(3, 1) // 8


def test_what_a_deepspeed_configuration_says_of_its_buffers_is_planned(recipe: Callable[..., TrainingConfig]) -> None:
    def planned_with(section: dict[str, Any], zero_stage: int = 3) -> Memory:
        config = recipe(zero_stage=zero_stage, precision="bf16", deepspeed={"zero_optimization": section})
        return memory_of(planned.MISTRAL_7B, layout_of(recipe_of(config, 100, 4096, "bf16"), 4096), on_gpu=True)

    usual, auto = planned_with({}), planned_with({"reduce_bucket_size": "auto"})
    said = planned_with({"reduce_bucket_size": "1e8", "stage3_max_live_parameters": 200_000_000})
    assert (usual.buckets, usual.gathered) == (auto.buckets, auto.gathered) == (1_000_000_000, 2_000_000_000)
    assert (said.buckets, said.gathered) == (200_000_000, 400_000_000)
    overlapping = {"overlap_comm": True}
    assert [planned_with(overlapping, stage).buckets for stage in (0, 1, 2, 3)] == [1e9, 2e9, 2e9, 1e9]
    assert planned_with({"reduce_bucket_size": 1}, zero_stage=0).buckets == 1e9, "which stage 0 does not look at"


def test_the_parts_add_up_and_only_what_is_there_at_the_fullest_moment_counts() -> None:
    long = memory_of(planned.MISTRAL_7B, planned.layout(), on_gpu=True)
    short = memory_of(planned.MISTRAL_7B, planned.layout(micro_batch=1, sequence_length=512), on_gpu=True)
    assert {"activations", "logits", "buckets"} <= set(long.parts)
    assert "update" not in long.parts
    assert "update" in short.parts
    assert "activations" not in short.parts
    for memory in (long, short):
        parts = memory.parts
        assert memory.total == sum(parts.values())
        assert parts["reserve"] == int((memory.total - parts["reserve"] - parts["runtime"]) * 0.1)
