"""One rank's training: transformers' Trainer over DeepSpeed, on samples in their order."""

import json
import time
from pathlib import Path

import torch
from torch import distributed
from transformers import PreTrainedModel, TrainerState
from transformers.trainer_callback import PrinterCallback

from forge_pipelines.errors import ConfigError
from forge_pipelines.shards.reading import Shards, open_shards
from forge_pipelines.training.job import HISTORY, DivergedError, Finished, TrainingJob
from forge_pipelines.training.worker.arguments import TIMEOUT, arguments_of
from forge_pipelines.training.worker.network import build_network, load_base
from forge_pipelines.training.worker.samples import SamplesInOrder, already_stacked
from forge_pipelines.training.worker.trainers import RankTrainer
from forge_pipelines.training.worker.watch import Report, Watch, devices_of, history_of
from forge_pipelines.training.worker.zero import adjust_deepspeed


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
        args=arguments_of(job),
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
                final_loss=history_of(trainer.state)[-1]["loss"],
                tokens_per_second=watch.tokens_per_second,
                wall_seconds=time.monotonic() - started,
                devices=devices_of(job),
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
        timeout=TIMEOUT,
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
    (folder / HISTORY).write_text(json.dumps(history_of(state)) + "\n")
