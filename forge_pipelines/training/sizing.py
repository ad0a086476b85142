"""How large a recipe's network is, and how long its parts take on this machine: asked of a process that holds torch."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from forge_pipelines import processes
from forge_pipelines.channel import Refused
from forge_pipelines.errors import ConfigError, PlatformError
from forge_pipelines.manifest import Value
from forge_pipelines.training.config import LoraConfig
from forge_pipelines.training.recipe import Recipe

_ENVIRONMENT = {**processes.NOTHING_LEAVES, **processes.NO_GPU, **processes.KEEPS_MEMORY}


class SizingJob(Value):
    """All that the process is told.

    Attributes:
        architecture: what describes the network; None where ``base`` does.
        base: a folder with the base's verified ``config.json``; no weights are read.
        vocabulary: number of tokens, of a network that is described.
        lora: the adapter whose size is asked, too.
        sequence_length: T, in tokens.
        precision: of the parts that are timed.
        timed: time the parts on this machine's CPU.
        micro_batch: B, in sequences, to be timed.
        threads: that time them.
        parent_pid: process that it must not outlive.
    """

    architecture: Mapping[str, Any] | None
    base: Path | None
    vocabulary: int | None
    lora: LoraConfig
    sequence_length: int
    precision: Literal["fp32", "bf16"]
    timed: bool = False
    micro_batch: int = 1
    threads: int = 1
    parent_pid: int = 0


class NetworkShape(Value):
    """The sizes of a network that its memory and its speed depend on.

    Attributes:
        parameters: all of them.
        adapter: those of the adapter that was asked for; they are not among the others.
        looked_up: those of the input embedding, where it is a table of its own: they are looked up, not multiplied.
        idle: those of the experts that a token is not sent to.
        layers: L.
        hidden: h, width of the residual stream.
        queries: width of all heads together.
        keys: width of all key heads together.
        mlp: f, width of the feed-forward part, of one expert.
        experts: feed-forward parts that a token goes through; 0 where there are no experts.
        vocabulary: V.
        window: tokens that the network sees at once.
        has_blocks: attention can be worked out block by block, see `worker.attention`.
    """

    model_type: str
    parameters: int
    adapter: int
    looked_up: int
    idle: int
    layers: int
    hidden: int
    queries: int
    keys: int
    mlp: int
    experts: int
    vocabulary: int
    window: int
    has_blocks: bool


class Timing(Value):
    """Seconds on this machine's CPU, measured on random numbers.

    Attributes:
        layer: forward and backward through one layer, a micro-batch.
        head: the same for the output matrix and the loss.
        update: one AdamW step of a million parameters.
    """

    layer: float
    head: float
    update: float


class Sized(Value):
    """What the process found out; ``start_seconds`` it took to import torch and transformers."""

    kind: Literal["sized"] = "sized"
    shape: NetworkShape
    timing: Timing | None
    start_seconds: float


_END: TypeAdapter[Sized | Refused] = TypeAdapter(Annotated[Sized | Refused, Field(discriminator="kind")])


def sizing_job(recipe: Recipe, sequence_length: int, vocabulary: int | None, base: Path | None) -> SizingJob:
    """Return what asks for the sizes of a recipe's network, and of its adapter: its own, or a usual one.

    Args:
        recipe: with nothing left open.
        sequence_length: T, in tokens.
        vocabulary: number of tokens, where there is no base.
        base: a folder with the verified ``config.json`` of what training goes on from, if anything.
    """
    return SizingJob(
        architecture=recipe.architecture,
        base=base,
        vocabulary=vocabulary,
        lora=recipe.lora or LoraConfig(),
        sequence_length=sequence_length,
        precision=recipe.precision,
    )


def size_up(name: str, job: SizingJob, log: Path) -> Sized:
    """Ask for the sizes of a network, and, where the job says so, for its times on this machine's CPU.

    Args:
        name: the model's name, for messages.
        job: what is asked.
        log: file that the process's output is appended to.

    Raises:
        ConfigError: no network can be built, or it sees fewer tokens at once than a sequence has.
        PlatformError: the process was killed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    said: list[Sized | Refused] = []
    with TemporaryDirectory(prefix="forge-plan-") as folder:
        path = Path(folder) / "job.json"
        path.write_text(job.model_copy(update={"parent_pid": os.getpid()}).model_dump_json())
        command = [sys.executable, "-m", "forge_pipelines.training.worker.sizing", str(path)]
        environment = {**_ENVIRONMENT, "OMP_NUM_THREADS": str(job.threads)}
        code = processes.run(
            command, lambda line: said.append(_END.validate_json(line)), environment=environment, log=log
        )
    if not said:
        raise PlatformError(
            f"{name}: the process that sizes the network ended with code {code}; its log {log} says why"
        )
    if isinstance(said[0], Refused):
        raise ConfigError(f"{name}: {said[0].message}")
    return said[0]
