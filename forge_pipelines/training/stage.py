"""The stage `trained_checkpoint`: shards, a recipe, perhaps a base in; a network that ``from_pretrained`` loads out."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from forge_pipelines.bases.stage import ROLE, base_of
from forge_pipelines.errors import ConfigError, DataError, PlatformError
from forge_pipelines.manifest import Manifest, StageRequest, code_version
from forge_pipelines.progress import OnProgress, Progress, silent
from forge_pipelines.shards.order import sequences_of
from forge_pipelines.shards.reading import TOKENIZER, documents_in, open_shards
from forge_pipelines.staging import alone_in
from forge_pipelines.store import Made, Publication, Store
from forge_pipelines.training.batches import batch_of
from forge_pipelines.training.checkpoints import Checkpoint, checkpoint_folder, latest_complete
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.job import HISTORY, LIBRARIES, DivergedError, Finished, StepDone, TrainingJob
from forge_pipelines.training.pictures import draw_loss
from forge_pipelines.training.ranks import TrainingEnvironment, run_ranks
from forge_pipelines.training.recipe import Recipe, settle

__all__ = ["CODE_VERSION", "HISTORY", "RECORD", "train", "training_request"]

CODE_VERSION = "3"
RECORD = "training.json"
LOSS_PICTURE = "loss.png"
_SKIPPED = "skipped.json"
_SHOWN_DIGITS, _MOST_NAMED = 12, 10

_REMEDY = (
    "lower training.learning_rate or training.max_gradient_norm, raise training.warmup_steps, look at these documents, "
    "or let such batches be skipped (training.skip_batches)"
)
_LIBRARIES = ("torch", "transformers", "deepspeed")
_WITHOUT_EFFECT_ON_RESULT = {"gpus", "keep_checkpoints", "checkpoint_every_steps", "stall_seconds"}


def training_request(name: str, shards: Manifest, config: TrainingConfig) -> StageRequest:
    """Return what a training is known by: its key stays the same through every interruption and relaunch.

    What the recipe leaves open (a length in epochs, a precision) is settled first, and stands so among the parameters.

    Raises:
        ConfigError: the batch is smaller than what the ranks work on at once.
    """
    recipe = settle(config, shards)
    return StageRequest(
        kind="trained_checkpoint",
        name=name,
        inputs={"shards": shards.fingerprint, **_base_input(shards, config)},
        parameters=recipe.model_dump(mode="json", exclude=_WITHOUT_EFFECT_ON_RESULT),
        code_version=code_version(CODE_VERSION, *_LIBRARIES),
    )


def _base_input(shards: Manifest, config: TrainingConfig) -> Mapping[str, str]:
    """Return the base among the inputs of the shards, which have its tokenizer, when training goes on from it."""
    if config.architecture is not None:
        return {}
    return {role: fingerprint for role, fingerprint in shards.inputs.items() if role.startswith(ROLE)}


def train(
    name: str,
    shards: Manifest,
    config: TrainingConfig,
    store: Store,
    environment: TrainingEnvironment,
    on_progress: OnProgress = silent,
) -> Publication:
    """Train a network, going on from the last complete checkpoint of an earlier, unfinished call.

    A recipe that describes no network goes on from the weights of the base that the shards were tokenized for. Two
    callers at once do not train the same: the second waits for the first.

    Args:
        name: the model's name.
        shards: the manifest of its shards.
        config: the recipe.
        store: holds the shards and takes the result.
        environment: what may be used of the machine.
        on_progress: told of every step, with its loss, gradient norm, learning rate and tokens per second.

    Raises:
        ConfigError: there is neither an architecture nor a base, or no network comes of it; or unfinished work belongs
            to another number of ranks.
        DataError: the shards are damaged; or the loss is no longer a number, or jumps, on more batches than may be
            skipped.
        PlatformError: GPUs are missing, the disk is full, or a training process failed.
    """
    request = training_request(name, shards, config)
    workspace = store.workspace(request)
    training = _Training(name, request.key, shards, settle(config, shards), store, environment, on_progress, workspace)
    # Its lock stands beside the workspace, which is removed in the end: it must stay the same file for all who wait.
    with alone_in(workspace, partial(training.say, "another process is training the same; waiting for it")):
        publication = store.obtain(request, training.make)
        shutil.rmtree(workspace, ignore_errors=True)
    return publication


@dataclass(frozen=True, slots=True)
class _Training:
    """One call of the stage; ``workspace`` outlives it until the result is published."""

    name: str
    key: str
    shards: Manifest
    recipe: Recipe
    store: Store
    environment: TrainingEnvironment
    on_progress: OnProgress
    workspace: Path

    def make(self, folder: Path) -> Made:
        """Train, from the last complete checkpoint on, and write what is published."""
        while True:
            try:
                return self._make(folder)
            except DivergedError as error:
                self._skip(error)

    def _make(self, folder: Path) -> Made:
        device = self._device()
        resume = self._resume_point()
        step = resume.step if resume else 0
        where = f"{self.recipe.ranks} rank(s) on {device.upper()} in {self.recipe.precision}"
        self.say(f"{where}, steps {step + 1} to {self.recipe.steps}")
        shards = self.store.open(self.shards)
        job = TrainingJob(
            name=self.name,
            key=self.key,
            shards=shards,
            base=self._base_folder(),
            checkpoints=self._checkpoints,
            output=folder,
            rendezvous=self.workspace / "rendezvous",
            recipe=self.recipe,
            device=device,
            world_size=self.recipe.ranks,
            resume_from=checkpoint_folder(self._checkpoints, step) if resume else None,
            skipped=self._skipped,
        )
        restarts = self._count_launch() - 1
        log = self.environment.log_folder / f"{self.name}-{self.workspace.name[:12]}.log"
        finished = run_ranks(job, self.workspace, self.environment, log, self._on_step)
        shutil.copytree(shards / TOKENIZER, folder, dirs_exist_ok=True)
        self._write_record(folder, finished)
        (folder / LOSS_PICTURE).write_bytes(draw_loss(json.loads((folder / HISTORY).read_text()), "png"))
        measured = self._measured(finished, device) | {"resumed_from_step": step, "restarts": restarts}
        # The shards have their tokenizer of the base, and so its label too.
        return Made(self._counts(finished), self.shards.classification, measured)

    @property
    def _checkpoints(self) -> Path:
        return self.workspace / "checkpoints"

    @property
    def _skipped(self) -> tuple[int, ...]:
        path = self.workspace / _SKIPPED
        return tuple(json.loads(path.read_text())) if path.is_file() else ()

    def _skip(self, error: DivergedError) -> None:
        """Note that a batch is skipped from now on.

        Raises:
            DataError: no more may be.
        """
        skipped, size = self._skipped, self.recipe.batch_sequences
        batch = batch_of(error.step, skipped)
        samples = np.arange(batch * size, (batch + 1) * size)
        where = f"{error}, on samples {samples[0]} to {samples[-1]}, of {self._documents_of(samples)}"
        if len(skipped) >= self.recipe.skip_batches:
            raise DataError(f"{where}; {_REMEDY}") from error
        unfinished = self.workspace / f"{_SKIPPED}.part"
        unfinished.write_text(json.dumps([*skipped, batch]))
        unfinished.replace(self.workspace / _SKIPPED)
        self.say(f"{where}; they are skipped, and training goes back to the last checkpoint")

    def _documents_of(self, samples: NDArray[np.int64]) -> str:
        folder = self.store.open(self.shards)
        sequences = sequences_of(open_shards(folder).order(self.recipe.seed), samples)
        names = [each["doc_id"][:_SHOWN_DIGITS] for each in documents_in(folder, sequences)]
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        return f"documents {', '.join(names[:_MOST_NAMED])}{more}"

    def _base_folder(self) -> Path | None:
        if self.recipe.architecture is not None:
            return None
        base = base_of(self.shards, self.store)
        if base is None:
            raise ConfigError(f"{self.name} has neither training.architecture nor a base; name one of them")
        return self.store.open(base)

    def say(self, message: str) -> None:
        """Tell whoever listens."""
        self.on_progress(Progress(f"{self.name}: training", total=self.recipe.steps, unit="steps", message=message))

    def _on_step(self, done: StepDone) -> None:
        metrics = done.model_dump(exclude={"kind", "step"})
        self.on_progress(Progress(f"{self.name}: training", done.step, self.recipe.steps, "steps", metrics))

    def _device(self) -> Literal["cpu", "cuda"]:
        asked, visible = self.recipe.gpus.count, self.environment.visible_gpus
        if asked == 0 or visible == 0:
            return "cpu"
        if visible < asked:
            message = f"{self.name} asks for {asked} GPUs and {visible} can be seen; lower training.gpus.count"
            raise PlatformError(message)
        return "cuda"

    def _resume_point(self) -> Checkpoint | None:
        checkpoint = latest_complete(self._checkpoints, self.say)
        if checkpoint and checkpoint.world_size != self.recipe.ranks:
            message = (
                f"{self.name}: the unfinished training in {self.workspace} was begun with {checkpoint.world_size} "
                f"rank(s) and the recipe asks for {self.recipe.ranks}; set training.gpus.count back, or remove that "
                "folder to begin again"
            )
            raise ConfigError(message)
        return checkpoint

    def _count_launch(self) -> int:
        counter = self.workspace / "launches"
        launches = int(counter.read_text()) + 1 if counter.is_file() else 1
        counter.write_text(str(launches))
        return launches

    def _write_record(self, folder: Path, finished: Finished) -> None:
        record = {
            "samples": [0, (self.recipe.steps + len(self._skipped)) * self.recipe.batch_sequences],
            "skipped_batches": [*self._skipped],
            "tokens_trained": finished.tokens_trained,
            "libraries": {library: version(library) for library in LIBRARIES},
        }
        (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")

    def _counts(self, finished: Finished) -> Mapping[str, Any]:
        return {
            "steps": self.recipe.steps,
            "skipped_batches": [*self._skipped],
            "parameters": finished.parameters,
            "tokens_trained": finished.tokens_trained,
            "final_loss": finished.final_loss,
        }

    def _measured(self, finished: Finished, device: str) -> dict[str, Any]:
        return {
            "tokens_per_second": round(finished.tokens_per_second, 1),
            "wall_seconds": round(finished.wall_seconds, 3),
            "device": device,
            "devices": list(finished.devices),
            "world_size": self.recipe.ranks,
        }
