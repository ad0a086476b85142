"""One NVIDIA GPU trains for real: bit by bit after a kill, every objective, offloading, its memory and its energy."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import planned
import pytest
import torch
from adapting import one_rank, publish_base, publish_chats, publish_pairs

from forge_pipelines.errors import PlatformError
from forge_pipelines.gpu.inventory import devices, least_memory
from forge_pipelines.gpu.leases import Leases
from forge_pipelines.gpu.line import Holder
from forge_pipelines.gpu.request import GpuRequest
from forge_pipelines.manifest import Manifest
from forge_pipelines.progress import Progress
from forge_pipelines.store import Store
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.stage import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA device is visible"),
]
Recipe = Callable[..., TrainingConfig]
ON_A_GPU: dict[str, Any] = {"architecture": planned.WIDE, "precision": "auto", "gpus": {"count": 1}}
MIXTRAL = {
    "model_type": "mixtral",
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_local_experts": 4,
}
BYTES_A_SEQUENCE = 4_000_000
"""Of `planned.MIDDLING`, by the formula of `memory`."""


class Killed(Exception):
    """Ends a training from outside, in the midst of it."""


@pytest.fixture
def environment(tmp_path: Path, forge_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrainingEnvironment]:
    """One GPU, leased as a step leases it: a run of this machine does not share it."""
    leases = Leases(Path(os.environ.get("FORGE_GPU_LEASES", "/tmp/forge-gpu-leases")), devices)
    with leases.lease(GpuRequest(count=1), Holder.here("tests", "training"), print) as lease:
        for name, value in lease.variables().items():
            monkeypatch.setenv(name, value)
        memory = least_memory([device.uuid for device in lease.devices], devices())
        yield TrainingEnvironment(forge_cache, tmp_path / "logs", visible_gpus=1, gpu_memory_bytes=memory)


def weights_hash(published: Manifest) -> str:
    return next(file.sha256 for file in published.files if file.path == "model.safetensors")


def kill_at(step: int) -> Callable[[Progress], None]:
    def look(progress: Progress) -> None:
        if progress.done >= step:
            raise Killed

    return look


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"zero_stage": 3, "offload": "parameters"},
        {"architecture": MIXTRAL},
        {"gradient_checkpointing": True},
        {"compile": False},
    ],
    ids=["dense", "offloaded", "experts", "recomputed", "plain"],
)
def test_a_killed_training_goes_on_bit_by_bit_as_the_one_that_nobody_killed(
    tmp_path: Path,
    publish: Callable[[Store], Manifest],
    recipe: Recipe,
    environment: TrainingEnvironment,
    changes: dict[str, Any],
) -> None:
    config = recipe(**{**ON_A_GPU, "steps": 12, "checkpoint_every_steps": 5, "batch_sequences": 16, **changes})
    whole, killed = (Store(str(tmp_path / name / "store"), tmp_path / name / "scratch") for name in ("whole", "killed"))
    said: list[str] = []
    control = train("tiny", publish(whole), config, whole, environment, lambda each: said.append(each.message))
    assert any("each rank works on 16 of its 16 sequences at once" in message for message in said)
    with pytest.raises(Killed):
        train("tiny", publish(killed), config, killed, environment, kill_at(8))
    again = train("tiny", publish(killed), config, killed, environment)
    assert again.manifest.measured["resumed_from_step"] in {5, 10}  # it may have got further than was heard
    assert weights_hash(again.manifest) == weights_hash(control.manifest)


def test_what_a_training_took_of_the_gpu_is_measured(
    store: Store, shards: Manifest, recipe: Recipe, environment: TrainingEnvironment
) -> None:
    figures: list[Progress] = []
    made = train("tiny", shards, recipe(**ON_A_GPU, steps=40), store, environment, figures.append)
    measured = made.manifest.measured
    assert (measured["device"], made.manifest.parameters["precision"]) == ("cuda", "bf16")
    assert measured["devices"] == [devices()[0].name]
    assert measured["gpu_seconds"] > 1
    assert measured["energy_joules"] == "not measured" or measured["energy_joules"] > 0
    assert 0 < measured["gpu_memory_bytes"] < 3 << 29  # DeepSpeed's bucket alone is a gigabyte
    assert 0 < measured["mfu"] < 1
    assert all(each.metrics["gpu_memory_bytes"] > 0 for each in figures if each.metrics)


@pytest.mark.parametrize("objective", ["continue", "sft", "dpo"])
@pytest.mark.parametrize("lora", [None, {"rank": 4}], ids=["whole", "adapter"])
def test_every_objective_learns_on_a_gpu(
    store: Store, environment: TrainingEnvironment, objective: str, lora: dict[str, int] | None
) -> None:
    base = publish_base(store, hidden_size=planned.WIDE["hidden_size"])
    if objective == "dpo":
        shards = publish_pairs(store, base)
    else:
        shards = publish_chats(store, base, "chats" if objective == "sft" else "texts")
    figures: list[Progress] = []
    config = one_rank(**{**ON_A_GPU, "architecture": None}, objective=objective, lora=lora, steps=20)
    train("tiny", shards, config, store, environment, figures.append)
    losses = [each.metrics["loss"] for each in figures if each.metrics]
    assert losses[-1] < losses[0]


def test_a_gpu_without_enough_memory_is_a_sentence(
    store: Store, shards: Manifest, recipe: Recipe, environment: TrainingEnvironment
) -> None:
    assert environment.gpu_memory_bytes is not None
    sequences = 2 * environment.gpu_memory_bytes // BYTES_A_SEQUENCE
    larger = replace(environment, gpu_memory_bytes=1 << 50)
    config = recipe(**{**ON_A_GPU, "architecture": planned.MIDDLING, "batch_sequences": sequences // 2 * 2})
    with pytest.raises(PlatformError, match=r"the GPU's memory ran out; lower training\.micro_batch_sequences from \d"):
        train("tiny", shards, config, store, larger)
