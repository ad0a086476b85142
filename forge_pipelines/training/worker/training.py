"""One rank's training: transformers' Trainer over DeepSpeed, on samples in their order."""

import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from forge_pipelines.errors import ConfigError
from forge_pipelines.shards.reading import Shards, open_shards
from forge_pipelines.training.batches import batch_of
from forge_pipelines.training.checkpoints import Done, checkpoint_folder, read_checkpoint, rotate, seal
from forge_pipelines.training.job import HISTORY, LIBRARIES, DivergedError, Event, Finished, StepDone, TrainingJob
from forge_pipelines.training.worker.network import build_network, load_base
from forge_pipelines.training.worker.samples import SamplesInOrder, already_stacked
from forge_pipelines.training.worker.zero import adjust_deepspeed, deepspeed_config

Report = Callable[[Event], None]
_TIMEOUT = timedelta(minutes=30)
_STEPS_BEFORE = 32
"""By the losses of so many steps a loss is found to jump."""


class RankTrainer(Trainer):
    """transformers' Trainer, which counts the tokens it trains on and saves the weights once a checkpoint."""

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Do nothing: DeepSpeed's part of a checkpoint holds the weights already."""

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:  # noqa: ARG002 - the Trainer's signature
        """Count nothing: walking through all parameters at every step takes time."""
        return 0

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """Take a step's micro-batches; count its labels, of all ranks, in the state that checkpoints keep."""
        batches, num_labels = super().get_batch_samples(epoch_iterator, num_batches, device)
        self.state.num_input_tokens_seen += int(num_labels)
        return batches, num_labels


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
        before = [entry["loss"] for entry in _history(state)[-_STEPS_BEFORE - 1 : -1]]
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
            rotate(self._job.checkpoints, self._job.recipe.keep_checkpoints)

    def _done(self, state: TrainerState) -> Done:
        job, num_batches = self._job, batch_of(state.global_step, self._job.skipped) + 1
        return Done(
            step=state.global_step,
            world_size=job.world_size,
            samples=(0, num_batches * job.recipe.batch_sequences),
            skipped_batches=tuple(batch for batch in job.skipped if batch < num_batches),
            tokens_trained=state.num_input_tokens_seen,
            wall_seconds=self._seconds_before + time.monotonic() - self._started,
            libraries={library: version(library) for library in LIBRARIES},
            devices=_devices(job),
        )


def train_rank(job: TrainingJob, rank: int, report: Report) -> None:
    """Train as one of the job's ranks; rank 0 saves the model and its history.

    Raises:
        ConfigError: no network can be built from the architecture.
        DivergedError: the loss, a gradient or a weight is no longer a number, or the loss jumps.
    """
    started = time.monotonic()
    adjust_deepspeed()
    _join(job, rank)
    recipe, shards = job.recipe, open_shards(job.shards)
    network = _first_network(job, shards)
    num_parameters = network.num_parameters()
    longest = network.config.max_position_embeddings
    if shards.sequence_length > longest:
        message = f"sequences of {shards.sequence_length} tokens are longer than the network sees at once"
        raise ConfigError(f"{message} (max_position_embeddings is {longest}); lower shards.sequence_length")
    watch = Watch(job, recipe.batch_sequences * shards.sequence_length, report)
    trainer = RankTrainer(
        model=network,
        args=_arguments(job),
        train_dataset=SamplesInOrder(shards, recipe, job.skipped),
        data_collator=already_stacked,
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=str(job.resume_from) if job.resume_from else None)
    weights = trainer.accelerator.get_state_dict(trainer.deepspeed)
    if rank == 0:
        _save(network, weights, trainer.state, job.output)
        report(
            Finished(
                parameters=num_parameters,
                tokens_trained=trainer.state.num_input_tokens_seen,
                final_loss=_history(trainer.state)[-1]["loss"],
                tokens_per_second=watch.tokens_per_second,
                wall_seconds=time.monotonic() - started,
                devices=_devices(job),
            )
        )
    distributed.barrier()
    distributed.destroy_process_group()


def _first_network(job: TrainingJob, shards: Shards) -> PreTrainedModel:
    if job.base is not None:
        return load_base(job.base)
    assert job.recipe.architecture is not None
    return build_network(job.recipe.architecture, shards.tokenizer_folder, job.recipe.seed)


def _join(job: TrainingJob, rank: int) -> None:
    """Meet the other ranks by a file: the usual store would listen on every interface."""
    distributed.init_process_group(
        "gloo" if job.device == "cpu" else "nccl",
        init_method=f"file://{job.rendezvous / 'ranks'}",
        rank=rank,
        world_size=job.world_size,
        timeout=_TIMEOUT,
    )


def _arguments(job: TrainingJob) -> TrainingArguments:
    recipe = job.recipe
    of_a_rank = recipe.batch_sequences // job.world_size
    micro = recipe.micro_batch_sequences or of_a_rank
    return TrainingArguments(
        output_dir=str(job.checkpoints),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=of_a_rank // micro,
        max_steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=recipe.warmup_steps,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_gradient_norm,
        optim="adamw_torch_fused",
        bf16=recipe.precision == "bf16",
        seed=recipe.seed,
        use_cpu=job.device == "cpu",
        deepspeed=deepspeed_config(recipe),
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_steps=recipe.checkpoint_every_steps,
        disable_tqdm=True,
        report_to="none",
        ddp_timeout=int(_TIMEOUT.total_seconds()),
    )


def _save(network: PreTrainedModel, weights: dict[str, torch.Tensor], state: TrainerState, folder: Path) -> None:
    """Write the model as ``from_pretrained`` reads it, in the recipe's own precision: what was trained is measured.

    Raises:
        DivergedError: the last step made a weight infinite.
    """
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        message = f"after the last step, {state.global_step}, the weights {broken[0]} are not finite"
        raise DivergedError(message, state.global_step)
    network.config.use_cache = True
    # A matrix that stands in two places is written once, as from_pretrained expects it.
    once = {name: tensor for name, tensor in weights.items() if name not in network.all_tied_weights_keys}
    network.save_pretrained(folder, state_dict=once, max_shard_size="1TB")
    (folder / HISTORY).write_text(json.dumps(_history(state)) + "\n")


def _history(state: TrainerState) -> list[dict[str, float]]:
    columns = ("step", "loss", "learning_rate", "grad_norm")
    return [{name: entry[name] for name in columns} for entry in state.log_history if "loss" in entry]


def _devices(job: TrainingJob) -> tuple[str, ...]:
    if job.device == "cuda":
        return tuple(torch.cuda.get_device_name(number) for number in range(job.world_size))
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return (next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU"),)
