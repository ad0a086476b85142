"""Whether a training fits into a machine's memory, and what would where it does not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forge_pipelines.training.cards import CARDS, GIB, Card
from forge_pipelines.training.config import LoraConfig
from forge_pipelines.training.memory import Layout, memory_of, micro_batches
from forge_pipelines.training.sizing import NetworkShape

_DOUBLINGS = 6
_SHORTEST = 256


@dataclass(frozen=True, slots=True)
class Machine:
    """On what training is planned.

    Attributes:
        device: name of its GPUs, each a rank's, or of its CPU, which all ranks share.
        memory_bytes: of one GPU, or what is free on the machine.
        card: what is known of the GPU; None on a CPU.
        here: it is this machine: its precision is the one that training would choose, and its CPU can be timed.
    """

    device: str
    memory_bytes: int
    card: Card | None
    here: bool

    @property
    def on_gpu(self) -> bool:
        """Whether it has GPUs."""
        return self.card is not None


@dataclass(frozen=True, slots=True)
class _Change:
    """What would be written into the recipe, and what the layout becomes by it."""

    recipe: Mapping[str, str]
    layout: Mapping[str, Any]


_RECOMPUTED = _Change({"gradient_checkpointing": "true"}, {"recomputed": True})
_OFFLOADED = _Change({"offload": "optimizer", **_RECOMPUTED.recipe}, {"offload": "optimizer", **_RECOMPUTED.layout})
_ADAPTED = _Change(
    {"lora": f"{{rank: {LoraConfig().rank}}}", **_RECOMPUTED.recipe}, {"adapted": True, **_RECOMPUTED.layout}
)


def needed_bytes(shape: NetworkShape, layout: Layout, machine: Machine) -> int:
    """Return the bytes that one GPU must have, or on a CPU, which all ranks share, the machine."""
    ranks_together = 1 if machine.on_gpu else layout.ranks
    return ranks_together * memory_of(shape, layout, on_gpu=machine.on_gpu).total


def remedies(
    shape: NetworkShape, layout: Layout, batch_sequences: int, machine: Machine, *, may_adapt: bool
) -> Iterator[str]:
    """Yield what would fit, each held to the same formula, in this order.

    A smaller micro-batch; or, with the largest that fits then, activations computed again, an optimizer in the host's
    memory, an adapter, where ``may_adapt`` says that there is something to adapt; ZeRO on more GPUs, and only where no
    number of them helps, shorter sequences; another card.
    """
    largest_first = micro_batches(layout, batch_sequences)
    for change in _changes(layout, machine, may_adapt=may_adapt):
        changed = (each.model_copy(update=change.layout) for each in largest_first)
        fits = (each for each in changed if needed_bytes(shape, each, machine) <= machine.memory_bytes)
        if best := next(fits, None):
            recipe = {**change.recipe, "micro_batch_sequences": f"{best.micro_batch}"}
            yield f"{_in_yaml(recipe)} ({_takes(shape, best, machine)})"
    if not machine.on_gpu:
        least = largest_first[-1]
        needed = needed_bytes(shape, least, machine)
        yield f"a machine with {_gib(needed)} of free memory, with micro-batches of {least.micro_batch}"
        return
    yield from _more_ranks(shape, layout, batch_sequences, machine)
    yield from _larger_card(shape, largest_first)


def _changes(layout: Layout, machine: Machine, *, may_adapt: bool) -> Iterator[_Change]:
    yield _Change({}, {})
    if not layout.recomputed:
        yield _RECOMPUTED
    if machine.on_gpu and layout.offload == "none" and layout.zero_stage >= 1:
        yield _OFFLOADED
    if may_adapt and not layout.adapted:
        yield _ADAPTED


def _in_yaml(recipe: Mapping[str, str]) -> str:
    settings = ", ".join(f"{key}: {value}" for key, value in recipe.items())
    return f"training.{settings}" if len(recipe) == 1 else f"training: {{{settings}}}"


def _takes(shape: NetworkShape, layout: Layout, machine: Machine) -> str:
    offloaded = memory_of(shape, layout, on_gpu=machine.on_gpu).offloaded
    beside = f", and {_gib(layout.ranks * offloaded)} of the machine's memory" if offloaded else ""
    return f"{_gib(needed_bytes(shape, layout, machine))}{beside}"


def _more_ranks(shape: NetworkShape, layout: Layout, batch_sequences: int, machine: Machine) -> Iterator[str]:
    def fitting(length: int) -> Layout | None:
        fits = (each for each in _divided(layout, length) if needed_bytes(shape, each, machine) <= machine.memory_bytes)
        return next(fits, None)

    whole = layout.sequence_length
    lengths = [whole >> halved for halved in range(1, whole.bit_length()) if whole >> halved >= _SHORTEST]
    shorter = [each for each in map(fitting, lengths) if each] if fitting(whole) is None else []
    chosen = fitting(whole) or min(shorter, key=lambda each: each.ranks, default=None)
    if chosen is None:
        return
    recipe = {"zero_stage": f"{chosen.zero_stage}", "gpus": f"{{count: {chosen.ranks}}}", "micro_batch_sequences": "1"}
    if batch_sequences % chosen.ranks:
        recipe["batch_sequences"] = f"{chosen.ranks}"
    shards = f"shards.sequence_length: {chosen.sequence_length}, " if chosen in shorter else ""
    yield f"{shards}{_in_yaml(recipe)} ({_gib(needed_bytes(shape, chosen, machine))} on each)"


def _divided(layout: Layout, length: int) -> Iterator[Layout]:
    """Yield the layouts over several ranks, the fewest and the lowest stage first, that read sequences of a length."""
    for ranks in (layout.ranks << doubled for doubled in range(_DOUBLINGS + 1)):
        for stage in range(max(1, layout.zero_stage), 4):
            if ranks > 1:
                changes = {"ranks": ranks, "zero_stage": stage, "micro_batch": 1, "sequence_length": length}
                yield layout.model_copy(update=changes)


def _larger_card(shape: NetworkShape, layouts: Sequence[Layout]) -> Iterator[str]:
    """Yield the smallest known card on which one of the layouts fits, and the first of them that does."""
    for card in sorted(CARDS, key=lambda card: card.memory_bytes):
        machine = Machine(card.name, card.memory_bytes, card, here=False)
        for layout in layouts:
            if layout.number_bytes == 2 and card.bf16_teraflops is None:
                continue
            if needed_bytes(shape, layout, machine) <= card.memory_bytes:
                yield f"{_each(layout.ranks, card.name)}, with micro-batches of {layout.micro_batch}"
                return


def _each(number: int, name: str) -> str:
    return f"one {name}" if number == 1 else f"{number} × {name}"


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / GIB:,.1f} GiB"
