"""What goes into the ranks, and what comes out: one JSON job in, one line of JSON for each event out."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from forge_pipelines.errors import ConfigError, DataError, ForgeError, PlatformError
from forge_pipelines.manifest import Name, Value
from forge_pipelines.training.recipe import Recipe

HISTORY = "history.json"
"""The published file that lists step, loss, learning rate and gradient norm of every step."""

LIBRARIES = ("torch", "transformers", "deepspeed", "accelerate", "safetensors", "peft", "trl")
"""Those whose versions the record of a training names."""

_PREFIX = "forge-training-event: "

Fault = Literal["config", "data", "platform"]
_FAULTS: Mapping[Fault, type[ForgeError]] = {"config": ConfigError, "data": DataError, "platform": PlatformError}


@cache
def versions() -> Mapping[str, str]:
    """Return the versions of `LIBRARIES`, which are looked up once: that takes as long as a small step."""
    return {library: version(library) for library in LIBRARIES}


class TrainingJob(Value):
    """All that the ranks are told.

    Attributes:
        name: the model's name, for messages.
        key: what the training is known by; its checkpoints carry it.
        shards: a verified shards folder.
        base: a verified base's folder, whose weights training begins with; None where the recipe describes a network.
        checkpoints: folder of the checkpoints, made or to be made.
        output: an existing folder for the finished model.
        rendezvous: an empty folder by whose files the ranks find each other.
        resume_from: a verified checkpoint to go on from.
        skipped: the batches that no step consumes, see `batches`.
        masked: documents are masked in the shards, so that a step may find nothing to learn from.
    """

    name: Name
    key: str
    shards: Path
    base: Path | None
    checkpoints: Path
    output: Path
    rendezvous: Path
    recipe: Recipe
    device: Literal["cpu", "cuda"]
    world_size: int
    resume_from: Path | None
    skipped: tuple[int, ...]
    masked: bool = False


class StepDone(Value):
    """An optimizer step was done.

    Attributes:
        tokens_per_second: the mean of this launch, padding included.
        remaining_seconds: until the last step, by the pace of the last half minute.
        mfu: model FLOPs utilization over that time: which share of what all GPUs can do at most the network needs; None
            where that is not known.
        gpu_memory_bytes: the most that rank 0 has had allocated in this launch; None on a CPU.
        energy_joules: drawn by all GPUs since this launch's first step; None where nobody counts it.
        extra: what its objective measures besides, by the name that the field knows it by: of dpo, what the answers
            gain on the base (``rewards/margins``) and how often the better one gains more (``rewards/accuracies``).
    """

    kind: Literal["step"] = "step"
    step: int
    loss: float
    grad_norm: float
    learning_rate: float
    tokens_per_second: float
    remaining_seconds: float
    mfu: float | None
    gpu_memory_bytes: int | None
    energy_joules: float | None
    extra: Mapping[str, float] = Field(default_factory=dict)


class Finished(Value):
    """The last step was done and the model saved. Times and rates are of this launch alone.

    Attributes:
        parameters: of the network.
        trained_parameters: those that training changed: an adapter's, or all.
    """

    kind: Literal["finished"] = "finished"
    parameters: int
    trained_parameters: int
    tokens_trained: int
    final_loss: float
    tokens_per_second: float
    mfu: float | None
    gpu_memory_bytes: int | None
    wall_seconds: float
    devices: tuple[str, ...]


class DivergedError(DataError):
    """A step's loss is a fault, or it has nothing to learn from.

    Attributes:
        step: the step.
        remedy: what to do about it, where that is not what is done about a loss.
    """

    def __init__(self, message: str, step: int, remedy: str | None = None) -> None:
        super().__init__(message)
        self.step, self.remedy = step, remedy


class Failed(Value):
    """A rank ended, and whose fault it is in one sentence.

    Attributes:
        diverged_at: the step that is the fault, if that is what it is.
        remedy: see `DivergedError`.
    """

    kind: Literal["failed"] = "failed"
    fault: Fault
    message: str
    diverged_at: int | None = None
    remedy: str | None = None

    @classmethod
    def of(cls, error: ForgeError) -> "Failed":
        """Put an error into words that cross the process boundary."""
        fault = next(fault for fault, kind in _FAULTS.items() if isinstance(error, kind))
        at, remedy = (error.step, error.remedy) if isinstance(error, DivergedError) else (None, None)
        return cls(fault=fault, message=str(error), diverged_at=at, remedy=remedy)

    def error(self, name: str) -> ForgeError:
        """Return the error that was put into words, of the model of that name."""
        message = f"{name}: {self.message}"
        if self.diverged_at is not None:
            return DivergedError(message, self.diverged_at, self.remedy)
        return _FAULTS[self.fault](message)


Event = StepDone | Finished | Failed
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def to_line(event: Event) -> str:
    """Return an event as one line that no library prints."""
    return f"{_PREFIX}{event.model_dump_json()}\n"


def from_line(line: str) -> Event | None:
    """Return the event that a line of output states, or None for any other line."""
    if not line.startswith(_PREFIX):
        return None
    return _EVENT.validate_json(line[len(_PREFIX) :])
