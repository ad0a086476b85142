"""What a training will take, before it starts: tokens, memory, time; and, where it does not fit, what would."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forge_pipelines.bases.stage import latest_base
from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import Manifest
from forge_pipelines.processes import available_cores
from forge_pipelines.shards.config import ShardsConfig
from forge_pipelines.store import Store
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.memory import Layout, Memory, layout_of, layout_that_fits, memory_of
from forge_pipelines.training.planned_tokens import Tokens, known_sequences, shards_made
from forge_pipelines.training.precision import has_fast_bf16
from forge_pipelines.training.recipe import Recipe, recipe_of
from forge_pipelines.training.remedies import Machine, needed_bytes, remedies
from forge_pipelines.training.sizing import NetworkShape, size_up, sizing_job
from forge_pipelines.training.speed import Pace, pace_of_earlier, pace_of_peak, pace_of_times

_CONFIGURATION = "config.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a training will take.

    Attributes:
        recipe: with nothing left open.
        layout: how it is laid out on the machine; on a GPU with as many sequences at once as fit, where the recipe does
            not say how many.
        memory: of one rank.
        needed_bytes: of one GPU; on a CPU, of all ranks together.
        remedies: where that is too much, what would fit, each in words; the least change first.
        pace: None where nobody knows how fast the device is.
    """

    name: str
    begins_with: str
    machine: Machine
    recipe: Recipe
    layout: Layout
    shape: NetworkShape
    tokens: Tokens
    memory: Memory
    needed_bytes: int
    remedies: Sequence[str]
    pace: Pace | None

    @property
    def fits(self) -> bool:
        """Whether each rank has the memory that it needs."""
        return self.needed_bytes <= self.machine.memory_bytes

    @property
    def seconds(self) -> float | None:
        """How long training takes, from its launch to the finished model."""
        return self.pace.seconds(self.tokens.total) if self.pace else None

    @property
    def gpu_hours(self) -> float | None:
        """GPUs times hours; None on a CPU, and where nobody knows how long it takes."""
        if self.seconds is None or not self.machine.on_gpu:
            return None
        return self.recipe.ranks * self.seconds / 3600


def make_plan(
    name: str,
    base_name: str | None,
    shards: ShardsConfig,
    training: TrainingConfig,
    machine: Machine,
    store: Store,
    log: Path,
) -> Plan:
    """Plan a training. No weights are read, and nothing is published.

    Args:
        name: the model's name.
        base_name: the open model that training goes on from, if it does.
        shards: what the model's YAML says under `shards`.
        training: the recipe.
        machine: on what.
        store: where shards, corpora, the base and earlier trainings are looked up.
        log: file of the process that sizes the network.

    Raises:
        ConfigError: the recipe gives no network, or one that sees fewer tokens at once than a sequence has; or its
            length is said in epochs, and nobody knows how many sequences there are.
        DataError: the base was never brought in, or is damaged.
        PlatformError: the process that sizes the network was killed.
    """
    base = latest_base(base_name, store) if base_name else None
    made = shards_made(name, shards, training.examples, store)
    sequences, source = known_sequences(shards, training.examples, made, store)
    if training.epochs is not None and sequences is None:
        raise ConfigError(f"{name} is trained for {training.epochs:g} epochs, and {source}; make its corpora first")
    knows_bf16 = _knows_bf16(machine)
    precision = training.precision if training.precision != "auto" else "bf16" if knows_bf16 else "fp32"
    gains = machine.on_gpu and knows_bf16
    recipe = recipe_of(training, sequences, shards.sequence_length, precision, gains_by_compiling=gains)
    layout = layout_of(recipe, shards.sequence_length)
    earlier = pace_of_earlier(recipe, shards.sequence_length, base, machine.device, store)
    vocabulary = made.counts["vocabulary"] if made else shards.tokenizer.vocabulary_size
    configuration = _configuration_of(base, store) if base else None
    timing = {
        "timed": earlier is None and machine.here and not machine.on_gpu,
        "micro_batch": layout.micro_batch,
        "threads": max(1, available_cores() // recipe.ranks),
    }
    job = sizing_job(recipe, shards.sequence_length, vocabulary, configuration)
    sized = size_up(name, job.model_copy(update=timing), log)
    if machine.on_gpu and recipe.micro_batch_sequences is None:
        layout = layout_that_fits(sized.shape, layout, recipe.batch_sequences, machine.memory_bytes)
    peak = machine.card.flops(recipe.precision) if machine.card else None
    pace = earlier or (
        pace_of_peak(sized.shape, layout, recipe, peak) if peak else pace_of_times(sized, layout, recipe)
    )
    needed = needed_bytes(sized.shape, layout, machine)
    fits = needed <= machine.memory_bytes
    told = remedies(sized.shape, layout, recipe.batch_sequences, machine, may_adapt=base is not None)
    return Plan(
        name=name,
        begins_with=f"goes on from {base.name}" if base else "from scratch",
        machine=machine,
        recipe=recipe,
        layout=layout,
        shape=sized.shape,
        tokens=Tokens(recipe.steps, recipe.batch_sequences, shards.sequence_length, sequences, source),
        memory=memory_of(sized.shape, layout, on_gpu=machine.on_gpu),
        needed_bytes=needed,
        remedies=() if fits else tuple(told),
        pace=pace,
    )


def _knows_bf16(machine: Machine) -> bool:
    """Tell whether a machine multiplies bf16 faster than fp32; of a card that is described by its memory alone, yes."""
    if machine.here:
        return has_fast_bf16("cuda" if machine.on_gpu else "cpu")
    return machine.card is None or bool(machine.card.bf16_teraflops) or machine.card.fp32_teraflops is None


def _configuration_of(base: Manifest, store: Store) -> Path:
    """Return a folder with a base's verified configuration: its weights are neither fetched nor hashed.

    Raises:
        DataError: it has none, or it is damaged.
    """
    only = tuple(entry for entry in base.files if entry.path == _CONFIGURATION)
    if not only:
        raise DataError(f"the base {base.name} has no {_CONFIGURATION}; bring it in again with `forge import-base`")
    return store.open(base.model_copy(update={"files": only}))
