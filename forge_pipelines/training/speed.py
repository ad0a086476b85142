"""How many tokens a second a training will do: as it did before, by this machine's own times, or by a card's peak."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forge_pipelines.bases.stage import ROLE
from forge_pipelines.manifest import Manifest, Value
from forge_pipelines.store import Store
from forge_pipelines.training.memory import Layout, trained_parameters
from forge_pipelines.training.recipe import Recipe
from forge_pipelines.training.sizing import NetworkShape, Sized

UTILIZATION = 0.4
"""The share of a GPU's peak that training is taken to reach (MFU), where nothing of the same shape was trained before:
what PaLM (46 %), Llama 3 (38 to 43 %) and other dense trainings report, and about the middle of what Forge reached on
an H200: 54 % with 1.2 billion parameters, and 32 % with 135 million."""

_LAUNCHES_OF_A_LAYER_SECONDS = 1e-3
"""A GPU that has little to multiply waits for its kernels to be launched, forward and backward: taken, not measured."""

_SHAPING = (
    "objective",
    "architecture",
    "lora",
    "batch_sequences",
    "micro_batch_sequences",
    "precision",
    "gradient_checkpointing",
    "compile",
    "zero_stage",
    "offload",
)
_GPU_START_SECONDS = 60.0
_IMPORTS_OF_A_START = 3
_UPDATE_PASSES = 2.5
"""DeepSpeed's own copies around an AdamW step (bucket, norm, clipping, master to weights), in times of the step."""
_SAVED_BYTES_PER_SECOND = {"cpu": 150e6, "gpu": 500e6}
"""Of a checkpoint: written, flushed to the disk and hashed. Taken, not measured: GPUs have faster disks beside them."""


class Pace(Value):
    """How fast, and how it is known.

    Attributes:
        tokens_per_second: of all ranks together; of dpo, a pair counts as one sequence.
        start_seconds: before the first step, and for checkpoints and the finished model.
        source: in words, where the two come from.
    """

    tokens_per_second: float
    start_seconds: float
    source: str

    def seconds(self, tokens: int) -> float:
        """Return how long a training of so many tokens takes."""
        return self.start_seconds + tokens / self.tokens_per_second


def flops_per_token(shape: NetworkShape, sequence_length: int) -> int:
    """Return the FLOPs of forward and backward through a network, a token.

    6·N + 12·L·h·T, with the parameters that are multiplied, the width of the heads and the length of a sequence
    (Chowdhery et al., 2022, «PaLM», appendix B).
    """
    multiplied = shape.parameters - shape.looked_up - shape.idle
    return 6 * multiplied + 12 * shape.layers * shape.queries * sequence_length


def pace_of_peak(shape: NetworkShape, layout: Layout, recipe: Recipe, peak_flops: float) -> Pace:
    """Return the pace of GPUs, by what one of them does at most, in FLOP/s."""
    flops = _work(layout) * flops_per_token(shape, layout.sequence_length)
    working = layout.tokens * flops / (peak_flops * UTILIZATION)
    launching = shape.layers * _LAUNCHES_OF_A_LAYER_SECONDS
    source = f"assumed: {UTILIZATION:.0%} of {peak_flops / 1e12:,.4g} TFLOP/s a GPU (MFU)"
    if launching > working:
        source = (
            f"assumed: the network is small, and launching its kernels takes {launching * 1000:,.0f} ms a micro-batch"
        )
    return Pace(
        tokens_per_second=layout.ranks * layout.micro_batch * layout.sequence_length / max(working, launching),
        start_seconds=_GPU_START_SECONDS + _saving_seconds(shape, layout, recipe, _SAVED_BYTES_PER_SECOND["gpu"]),
        source=f"{source}; nothing like it was trained yet",
    )


def pace_of_times(sized: Sized, layout: Layout, recipe: Recipe) -> Pace | None:
    """Return the pace of this machine's CPU, by the times of the network's parts; None where none were taken."""
    timing, shape = sized.timing, sized.shape
    if timing is None:
        return None
    of_a_step = recipe.batch_sequences // layout.ranks // layout.micro_batch
    updated = trained_parameters(shape, layout) / layout.ranks_from(1) / 1e6
    micro_batch = (2 if layout.pairs else 1) * _work(layout) * (shape.layers * timing.layer + timing.head)
    step = of_a_step * micro_batch + _UPDATE_PASSES * updated * timing.update
    return Pace(
        tokens_per_second=recipe.batch_sequences * layout.sequence_length / step,
        start_seconds=_IMPORTS_OF_A_START * sized.start_seconds
        + _saving_seconds(shape, layout, recipe, _SAVED_BYTES_PER_SECOND["cpu"]),
        source="a layer, the loss and AdamW were timed on this CPU just now; nothing like it was trained yet",
    )


def _work(layout: Layout) -> float:
    """Return the work of a token, in times of one forward and backward, of which each gradient is as much as forward.

    An adapter needs no gradient of the weights beside it; what is computed again, and the base of dpo, go forward once
    more.
    """
    passes = (1, 1, not layout.adapted, layout.recomputed, layout.pairs)
    return sum(passes) / 3


def num_checkpoints(recipe: Recipe) -> int:
    """Return how many checkpoints a training saves; the last one after its last step."""
    return -(-recipe.steps // recipe.checkpoint_every_steps)


def _saving_seconds(shape: NetworkShape, layout: Layout, recipe: Recipe, bytes_per_second: float) -> float:
    of_a_checkpoint = layout.number_bytes * shape.parameters + (8 + 4) * trained_parameters(shape, layout)
    return (num_checkpoints(recipe) * of_a_checkpoint + layout.number_bytes * shape.parameters) / bytes_per_second


def pace_of_earlier(
    recipe: Recipe, sequence_length: int, base: Manifest | None, device: str, store: Store
) -> Pace | None:
    """Return the pace of the last training of the same shape on the same device, under whatever name; None if none was.

    Args:
        recipe: with its precision settled.
        sequence_length: T, in tokens.
        base: what training goes on from, if anything.
        device: name of the GPUs, or of the CPU.
        store: holds what was trained.
    """
    wanted = {key: value for key, value in recipe.model_dump(mode="json").items() if key in _SHAPING}
    alike = [
        manifest
        for manifest in store.manifests(kind="trained_checkpoint")
        if all(manifest.parameters.get(key) == value for key, value in wanted.items())
        and _base_of(manifest) == (base.fingerprint if base else None)
        and _ran_on(manifest.measured, device, recipe.ranks)
        and sequence_length in _lengths(manifest, store)
        and manifest.measured["tokens_per_second"] > 0  # else its last launch had no step left to do
    ]
    if not alike:
        return None
    last = max(alike, key=lambda manifest: manifest.created_at)
    rate = float(last.measured["tokens_per_second"])
    done = (last.counts["steps"] - last.measured["resumed_from_step"]) * recipe.batch_sequences * sequence_length
    return Pace(
        tokens_per_second=rate,
        start_seconds=max(0.0, last.made_in_seconds - done / rate),
        source=f"measured when {last.name} {last.fingerprint[:12]} was trained, {last.created_at}",
    )


def _base_of(manifest: Manifest) -> str | None:
    return next((value for role, value in manifest.inputs.items() if role.startswith(ROLE)), None)


def _ran_on(measured: dict[str, Any] | Any, device: str, ranks: int) -> bool:
    return measured.get("world_size") == ranks and set(measured.get("devices", ())) == {device}


def _lengths(manifest: Manifest, store: Store) -> Iterator[int]:
    for shards in store.manifests(manifest.name, "tokenized_shards"):
        if shards.fingerprint == manifest.inputs.get("shards"):
            yield shards.counts["sequence_length"]


def cpu_name(cpu: Path = Path("/proc/cpuinfo")) -> str:
    """Return what Linux calls this machine's CPU, as a finished training states it.

    Args:
        cpu: file in which Linux describes the processors.
    """
    lines = cpu.read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")
