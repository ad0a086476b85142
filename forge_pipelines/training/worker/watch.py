"""What watches a training from within each rank: reports every step, ends it at a fault, completes checkpoints."""

import math
import statistics
from collections import ChainMap
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import torch
from torch import distributed
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from forge_pipelines.training.batches import batch_of
from forge_pipelines.training.checkpoints import (
    Done,
    checkpoint_folder,
    read_checkpoint,
    remove_spare,
    rotate,
    seal,
    spare_in,
)
from forge_pipelines.training.heartbeat import Heart
from forge_pipelines.training.job import DivergedError, Event, TrainingJob, versions
from forge_pipelines.training.speed import cpu_name
from forge_pipelines.training.worker.figures import Figures
from forge_pipelines.training.worker.saving import hash_while_saving, hashes_below
from forge_pipelines.training.worker.sizing import size_of

Report = Callable[[Event], object]
_STEPS_BEFORE = 32
"""By the losses of so many steps a loss is found to jump."""

_STATE_BYTES, _MODEL_BYTES = 16, 8
"""A parameter's, at most: in a checkpoint (weight, master, two moments); in the finished model, gathered and saved."""
_NOTHING_TO_LEARN = (
    "look at these documents, raise training.batch_sequences, or let such batches be skipped (training.skip_batches)"
)


class Watch(TrainerCallback):
    """Reports every step, stops at a loss that is no number, and completes checkpoints.

    Args:
        job: what is trained.
        tokens_per_step: of all ranks, padding included.
        report: takes the events of rank 0.
        heart: beats where training gets on.
    """

    def __init__(self, job: TrainingJob, tokens_per_step: int, report: Report, heart: Heart) -> None:
        self._job, self._tokens_per_step, self._report, self._heart = job, tokens_per_step, report, heart
        self._figures: Figures
        self._parameters = 0
        self._seconds_before = read_checkpoint(job.resume_from).wall_seconds if job.resume_from else 0.0
        self._labels = 0

    @property
    def figures(self) -> Figures:
        """The figures of this launch, from the begin of training on."""
        return self._figures

    def on_train_begin(
        self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, model: PreTrainedModel, **_: Any
    ) -> None:
        """Start the clock."""
        hash_while_saving(spare_in(self._job.checkpoints))
        self._parameters = sum(map(size_of, model.parameters()))
        self._figures = Figures(self._job, model, self._tokens_per_step, state.global_step)
        self._labels = state.num_input_tokens_seen
        self._heart.beat("first step", state.global_step)

    def on_step_begin(self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any) -> None:
        """Look at what a step is about to learn from.

        Raises:
            DivergedError: its batch has no label, though nothing is masked in the shards; every rank counts those of
                all, and stops.
        """
        step = state.global_step + 1
        if state.num_input_tokens_seen == self._labels and not self._job.masked:
            raise DivergedError(f"at step {step} no label of the batch is trained on", step, _NOTHING_TO_LEARN)
        self._labels = state.num_input_tokens_seen

    def on_substep_end(self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any) -> None:
        """Beat after a micro-batch."""
        self._heart.beat("training", state.global_step)

    def on_step_end(self, _args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Beat after a step; what follows may be a checkpoint."""
        if control.should_save:
            self._heart.beat("saving", state.global_step, _STATE_BYTES * self._parameters)
        else:
            self._heart.beat("training", state.global_step)

    def on_log(
        self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, logs: dict[str, float], **_: Any
    ) -> None:
        """Report a step.

        Raises:
            DivergedError: the loss or the gradient is no longer a number, or the loss jumps; every rank sees the same
                and stops.
        """
        if "loss" not in logs:
            return
        step, loss, grad_norm = state.global_step, logs["loss"], float(logs["grad_norm"])
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            raise DivergedError(f"at step {step} the loss is {loss} and the gradient's norm {grad_norm}", step)
        before = self._losses_before(state)
        if len(before) == _STEPS_BEFORE and loss > statistics.median(before) + self._job.recipe.loss_spike:
            usual = f"{statistics.median(before):.3f} in the {_STEPS_BEFORE} steps before"
            raise DivergedError(f"at step {step} the loss jumps to {loss:.3f}, from a median of {usual}", step)
        if state.is_world_process_zero:
            done = self._figures.of_step(step, loss, grad_norm, logs["learning_rate"])
            extra = {name: value for name, value in logs.items() if name.startswith("rewards/")}
            self._report(done.model_copy(update={"extra": extra}))

    def on_save(
        self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, model: PreTrainedModel, **_: Any
    ) -> None:
        """Complete a checkpoint that every rank has written its part of; the oldest is retired.

        Raises:
            DivergedError: its step made a weight infinite; every rank hears of it, and stops.
        """
        step, folder = state.global_step, checkpoint_folder(self._job.checkpoints, state.global_step)
        of_ranks: list[tuple[Mapping[str, str], str | None]] = [({}, None)] * self._job.world_size
        distributed.all_gather_object(of_ranks, (hashes_below(folder), _broken_weight(model)))
        if broken := next((name for _, name in of_ranks if name), None):
            raise DivergedError(f"after step {step} the weights {broken} are not finite", step)
        if state.is_world_process_zero:
            seal(folder, self._done(state), ChainMap(*(dict(hashes) for hashes, _ in of_ranks)))
            recipe = self._job.recipe
            rotate(self._job.checkpoints, recipe.keep_checkpoints, recipe.keep_every_steps)
        # Rank 0 may take long over it: until then, the others are saving, too.
        distributed.barrier()
        self._heart.beat("training", step)

    def on_train_end(self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any) -> None:
        """Beat before the finished model is gathered and written, in the room of the spare checkpoint."""
        self._heart.beat("finishing", state.global_step, _MODEL_BYTES * self._parameters)
        if state.is_world_process_zero:
            remove_spare(self._job.checkpoints)

    def _losses_before(self, state: TrainerState) -> list[float]:
        """Return the last losses before a step's own, without those of steps that had nothing to learn."""
        entries = islice(reversed(state.log_history), 1, None)
        learned = (entry["loss"] for entry in entries if entry["loss"] or not self._job.masked)
        return list(islice(learned, _STEPS_BEFORE))

    def _done(self, state: TrainerState) -> Done:
        job, num_batches = self._job, batch_of(state.global_step, self._job.skipped) + 1
        return Done(
            training=job.key,
            step=state.global_step,
            world_size=job.world_size,
            samples=(0, num_batches * job.recipe.batch_sequences),
            skipped_batches=tuple(batch for batch in job.skipped if batch < num_batches),
            tokens_trained=state.num_input_tokens_seen,
            wall_seconds=self._seconds_before + self._figures.seconds,
            libraries=versions(),
            devices=devices_of(job),
        )


def history_of(state: TrainerState) -> list[dict[str, float]]:
    """Return step, loss, learning rate and gradient norm of every step so far."""
    columns = ("step", "loss", "learning_rate", "grad_norm")
    return [{name: entry[name] for name in columns} for entry in state.log_history if "loss" in entry]


def devices_of(job: TrainingJob) -> tuple[str, ...]:
    """Return the names of the GPUs that the ranks use, or of the processor."""
    if job.device == "cuda":
        return tuple(torch.cuda.get_device_name(number) for number in range(job.world_size))
    return (cpu_name(),)


def _broken_weight(model: PreTrainedModel) -> str | None:
    """Name a trained weight that is not finite, as far as this rank holds it."""
    trained = (each for each in model.named_parameters() if each[1].requires_grad)
    return next((name for name, weight in trained if not _own_part(weight).sum().isfinite()), None)


def _own_part(weight: torch.Tensor) -> torch.Tensor:
    """Return what this rank holds of a weight: under ZeRO stage 3 a slice, of which padding is left out."""
    part: torch.Tensor | None = getattr(weight, "ds_tensor", None)
    if part is None:
        return weight
    return part[: max(0, weight.ds_numel - distributed.get_rank() * part.numel())]  # type: ignore[attr-defined]
