"""The stage `trained_checkpoint`: shards, a recipe, perhaps a base in; a network that ``from_pretrained`` loads out."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from forge_pipelines.bases.stage import ROLE, base_of
from forge_pipelines.errors import ConfigError, DataError, PlatformError
from forge_pipelines.manifest import Manifest, StageRequest, code_version
from forge_pipelines.progress import OnProgress, Progress, silent
from forge_pipelines.shards.masking import masked_texts
from forge_pipelines.shards.reading import TOKENIZER
from forge_pipelines.staging import alone_in
from forge_pipelines.store import Made, Publication, Store
from forge_pipelines.training.batches import batch_of
from forge_pipelines.training.checkpoints import complete_in, latest_complete, remove, step_of
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.divergence import REMEDY, samples_named
from forge_pipelines.training.elastic import for_ranks
from forge_pipelines.training.fitting import fitted
from forge_pipelines.training.job import HISTORY, DivergedError, StepDone, TrainingJob
from forge_pipelines.training.kept import KEPT_STEPS, publish_kept
from forge_pipelines.training.pictures import draw_loss
from forge_pipelines.training.ranks import TrainingEnvironment, run_ranks
from forge_pipelines.training.recipe import Recipe, settle
from forge_pipelines.training.record import RECORD, counts_of, measured_of, write_record
from forge_pipelines.training.rewinding import rewind
from forge_pipelines.training.sizing import sizing_job
from forge_pipelines.training.workspace import Workspace

__all__ = ["CODE_VERSION", "HISTORY", "RECORD", "train", "training_request"]

CODE_VERSION = "5"
LOSS_PICTURE = "loss.png"
_LIBRARIES = ("torch", "transformers", "deepspeed")
_WITHOUT_EFFECT_ON_RESULT = {"gpus", "keep_checkpoints", "checkpoint_every_steps", "stall_seconds"}


def training_request(name: str, shards: Manifest, config: TrainingConfig) -> StageRequest:
    """Return what a training is known by: its key stays the same through every interruption and relaunch.

    What the recipe leaves open (a length in epochs, a precision, whether to compile) is settled first, by the shards
    and by this machine, and stands so among the parameters.

    Raises:
        ConfigError: the batch is smaller than what the ranks work on at once.
    """
    recipe = settle(config, shards)
    return StageRequest(
        kind="trained_checkpoint",
        name=name,
        inputs={"shards": shards.fingerprint, **_base_input(shards, config)},
        parameters=recipe.model_dump(mode="json", exclude=_WITHOUT_EFFECT_ON_RESULT),
        code_version=code_version(CODE_VERSION, *_libraries(recipe)),
    )


def _libraries(recipe: Recipe) -> tuple[str, ...]:
    """Return the libraries that shape the weights."""
    adapter, preferences = ("peft",) if recipe.lora else (), ("trl",) if recipe.objective == "dpo" else ()
    return (*_LIBRARIES, *adapter, *preferences)


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
    rewind_from: Manifest | None = None,
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
        rewind_from: an earlier `trained_checkpoint` of the same recipe on shards in which less was masked: training
            goes on from its kept checkpoints, see `rewinding`. The result is the one from the start.

    Raises:
        ConfigError: there is neither an architecture nor a base, or no network comes of it; or ``rewind_from`` is of
            another recipe.
        DataError: the shards, or what ``rewind_from`` keeps, are damaged, or hold nothing to learn from; or the loss is
            no longer a number, or jumps, on more batches than may be skipped; or an unfinished checkpoint is of another
            training.
        PlatformError: GPUs are missing, the disk is full, or a training process failed.
    """
    _refuse_nothing_to_learn(name, shards)
    request, recipe = training_request(name, shards, config), settle(config, shards)
    workspace = Workspace(store.workspace(request))
    training = _Training(name, request.key, shards, recipe, store, environment, on_progress, workspace)

    # Its lock stands beside the workspace, which is removed in the end: it must stay the same file for all who wait.
    waiting = partial(training.say, "another process is training the same; waiting for it")
    with alone_in(workspace.folder, waiting) as lock:

        def make(folder: Path) -> Made:
            training.say_others()
            if rewind_from is not None:
                rewind(rewind_from, request, shards, recipe, store, workspace, training.say)
            return training.make(folder, lock)

        publication = store.obtain(request, make)
        shutil.rmtree(workspace.folder, ignore_errors=True)
    return publication


def _refuse_nothing_to_learn(name: str, shards: Manifest) -> None:
    if shards.counts.get("trainable_tokens") == 0:
        title = f"{shards.name}/{shards.kind} {shards.fingerprint[:12]}"
        message = f"{name}: not one token of {title} would be trained on"
        raise DataError(f"{message}; look at what its corpora rejected or masked, and make the shards again")


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
    workspace: Workspace

    def make(self, folder: Path, lock: int) -> Made:
        """Train, from the last complete checkpoint on, and write what is published; the ranks hold the lock, too."""
        while True:
            try:
                return self._make(folder, lock)
            except DivergedError as error:
                self._skip(error)

    def _make(self, folder: Path, lock: int) -> Made:
        device = self._device()
        log = self.environment.log_folder / f"{self.name}-{self.key[:12]}.log"
        resume_from = self._resume_point(log)
        step = step_of(resume_from) if resume_from else 0
        where = f"{self.recipe.ranks} rank(s) on {device.upper()} in {self.recipe.precision}"
        self.say(f"{where}, steps {step + 1} to {self.recipe.steps}")
        shards, base = self.store.open(self.shards), self._base_folder()
        recipe = self._fitted(device, base, log)
        job = TrainingJob(
            name=self.name,
            key=self.key,
            shards=shards,
            base=base,
            checkpoints=self.workspace.checkpoints,
            output=folder,
            rendezvous=self.workspace.rendezvous,
            recipe=recipe,
            device=device,
            world_size=self.recipe.ranks,
            resume_from=resume_from,
            skipped=self.workspace.skipped,
            masked=bool(masked_texts(self.shards)),
        )
        self.workspace.count_launch(self.recipe.ranks)
        finished = run_ranks(job, self.workspace.folder, self.environment, log, self._on_step, (lock,))
        shutil.copytree(shards / TOKENIZER, folder, dirs_exist_ok=True)
        write_record(folder, self.recipe, job.skipped, finished)
        (folder / LOSS_PICTURE).write_bytes(draw_loss(json.loads((folder / HISTORY).read_text()), "png"))
        kept = self._publish_kept(folder)
        measured = {
            **measured_of(recipe, self.workspace, finished, device),
            "resumed_from_step": step,
            KEPT_STEPS: {str(after): each for after, each in kept.items()},
        }
        counts = {**counts_of(self.recipe, job.skipped, finished), KEPT_STEPS: [*kept]}
        # The shards have their tokenizer of the base, and so its label too.
        return Made(counts, self.shards.classification, measured)

    def _skip(self, error: DivergedError) -> None:
        """Note that a batch is skipped from now on.

        Raises:
            DataError: no more may be.
        """
        skipped = self.workspace.skipped
        batch = batch_of(error.step, skipped)
        where = f"{error}, on {samples_named(batch, self.recipe, self.shards, self.store)}"
        if len(skipped) >= self.recipe.skip_batches:
            raise DataError(f"{where}; {error.remedy or REMEDY}") from error
        for checkpoint in complete_in(self.workspace.checkpoints):
            if step_of(checkpoint) >= error.step:
                remove(checkpoint)
        self.workspace.skip([batch])
        self.say(f"{where}; they are skipped, and training goes back to the last checkpoint")

    def _base_folder(self) -> Path | None:
        if self.recipe.architecture is not None:
            return None
        base = base_of(self.shards, self.store)
        if base is None:
            raise ConfigError(f"{self.name} has neither training.architecture nor a base; name one of them")
        return self.store.open(base)

    def _fitted(self, device: str, base: Path | None, log: Path) -> Recipe:
        memory_bytes, counts = self.environment.gpu_memory_bytes, self.shards.counts
        if device == "cpu" or memory_bytes is None:
            return self.recipe
        job = sizing_job(self.recipe, counts["sequence_length"], counts["vocabulary"], base)
        recipe = fitted(self.name, self.recipe, job, memory_bytes, self.workspace, log)
        if self.recipe.micro_batch_sequences is None:
            of_a_rank = recipe.batch_sequences // recipe.ranks
            self.say(f"each rank works on {recipe.micro_batch_sequences} of its {of_a_rank} sequences at once")
        return recipe

    def say(self, message: str) -> None:
        """Tell whoever listens."""
        self.on_progress(Progress(f"{self.name}: training", total=self.recipe.steps, unit="steps", message=message))

    def say_others(self) -> None:
        """Tell of other unfinished trainings of this model: a changed recipe begins anew, and keeps what was done."""
        for folder, step in self.workspace.others():
            what = f"{folder} holds an unfinished training of {self.name} with another recipe or other shards"
            self.say(f"{what}, {step} steps of it; it is kept, and the same recipe goes on from there")

    def _on_step(self, done: StepDone) -> None:
        shutil.rmtree(self.workspace.converted, ignore_errors=True)
        metrics = done.model_dump(exclude={"kind", "step", "energy_joules", "extra"}, exclude_none=True)
        metrics |= dict(done.extra)
        self.on_progress(Progress(f"{self.name}: training", done.step, self.recipe.steps, "steps", metrics))

    def _device(self) -> Literal["cpu", "cuda"]:
        asked, visible = self.recipe.gpus.count, self.environment.visible_gpus
        if asked == 0 or visible == 0:
            return "cpu"
        if visible < asked:
            message = f"{self.name} asks for {asked} GPUs and {visible} can be seen; lower training.gpus.count"
            raise PlatformError(message)
        return "cuda"

    def _resume_point(self, log: Path) -> Path | None:
        checkpoint = latest_complete(self.workspace.checkpoints, self.key, self.say)
        if checkpoint is None:
            return None
        return for_ranks(checkpoint, self.recipe, self.workspace, log, self.say)

    def _publish_kept(self, folder: Path) -> Mapping[int, Any]:
        if self.recipe.keep_every_steps is None:
            return {}
        return publish_kept(self.workspace.checkpoints, self.key, self.recipe.keep_every_steps, folder, self.say)
