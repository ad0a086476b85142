"""What watches a training from within each rank: reports every step, ends it at a fault, completes checkpoints."""

import math
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from forge_pipelines.training.batches import batch_of
from forge_pipelines.training.checkpoints import Done, checkpoint_folder, read_checkpoint, rotate, seal
from forge_pipelines.training.job import LIBRARIES, DivergedError, Event, StepDone, TrainingJob

Report = Callable[[Event], None]
_STEPS_BEFORE = 32
"""By the losses of so many steps a loss is found to jump."""


class Watch(TrainerCallback):
    """Reports every step, stops at a loss that is no number, and completes checkpoints."""

    def __init__(self, job: TrainingJob, tokens_per_step: int, report: Report) -> None:
        self._job = job
        self._tokens_per_step = tokens_per_step
        self._report = report
        self._started = 0.0
        self._first_step = 0
        self._seconds_before = read_checkpoint(job.resume_from).wall_seconds if job.resume_from else 0.0
        self.tokens_per_second = 0.0

    def on_train_begin(self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any) -> None:
        """Start the clock."""
        self._started, self._first_step = time.monotonic(), state.global_step

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
        before = [entry["loss"] for entry in history_of(state)[-_STEPS_BEFORE - 1 : -1]]
        if len(before) == _STEPS_BEFORE and loss > statistics.median(before) + self._job.recipe.loss_spike:
            usual = f"{statistics.median(before):.3f} in the {_STEPS_BEFORE} steps before"
            raise DivergedError(f"at step {step} the loss jumps to {loss:.3f}, from a median of {usual}", step)
        seconds = time.monotonic() - self._started
        self.tokens_per_second = (step - self._first_step) * self._tokens_per_step / seconds
        if state.is_world_process_zero:
            self._report(
                StepDone(
                    step=step,
                    loss=loss,
                    grad_norm=grad_norm,
                    learning_rate=logs["learning_rate"],
                    tokens_per_second=self.tokens_per_second,
                )
            )

    def on_save(self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any) -> None:
        """Complete a checkpoint that every rank has written its part of, then remove the oldest."""
        distributed.barrier()
        if state.is_world_process_zero:
            seal(checkpoint_folder(self._job.checkpoints, state.global_step), self._done(state))
            recipe = self._job.recipe
            rotate(self._job.checkpoints, recipe.keep_checkpoints, recipe.keep_every_steps)

    def _done(self, state: TrainerState) -> Done:
        job, num_batches = self._job, batch_of(state.global_step, self._job.skipped) + 1
        return Done(
            training=job.key,
            step=state.global_step,
            world_size=job.world_size,
            samples=(0, num_batches * job.recipe.batch_sequences),
            skipped_batches=tuple(batch for batch in job.skipped if batch < num_batches),
            tokens_trained=state.num_input_tokens_seen,
            wall_seconds=self._seconds_before + time.monotonic() - self._started,
            libraries={library: version(library) for library in LIBRARIES},
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
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return (next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU"),)
