"""One rank's training: transformers' Trainer over DeepSpeed, on samples in their order."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import distributed
from transformers import PreTrainedModel, TrainerState
from transformers.integrations.deepspeed import unset_hf_deepspeed_config
from transformers.trainer_callback import PrinterCallback

from forge_pipelines.shards.reading import Shards, open_shards
from forge_pipelines.training.heartbeat import Heart
from forge_pipelines.training.job import HISTORY, DivergedError, Finished, TrainingJob
from forge_pipelines.training.worker.adapters import ADAPTER, merged
from forge_pipelines.training.worker.arguments import TIMEOUT, check_compiler
from forge_pipelines.training.worker.attention import attend_in_blocks
from forge_pipelines.training.worker.determinism import add_in_one_order
from forge_pipelines.training.worker.network import build_network, load_base
from forge_pipelines.training.worker.preferences import preference_trainer
from forge_pipelines.training.worker.samples import PairsInOrder, SamplesInOrder, check_shards
from forge_pipelines.training.worker.trainers import RankTrainer, sequence_trainer
from forge_pipelines.training.worker.universal import prepare_universal
from forge_pipelines.training.worker.watch import Report, Watch, devices_of, history_of
from forge_pipelines.training.worker.zero import adjust_deepspeed


def train_rank(job: TrainingJob, rank: int, report: Report, heart: Heart) -> None:
    """Train as one of the job's ranks; rank 0 saves the model and its history.

    Raises:
        ConfigError: no network can be built from the architecture, the shards hold other examples than the objective
            learns from or longer ones than the network sees, or the recipe's adapter or DeepSpeed configuration does
            not go with it.
        DivergedError: the loss, a gradient or a weight is no longer a number, or the loss jumps.
    """
    started = time.monotonic()
    check_compiler(job.recipe)
    adjust_deepspeed(job.recipe)
    if job.recipe.deterministic and (job.device == "cuda" or job.recipe.compile):
        add_in_one_order()
    _join(job, rank)
    shards = open_shards(job.shards)
    network = _first_network(job, shards)
    num_parameters = network.num_parameters()
    check_shards(shards, job.recipe, network.config.max_position_embeddings)
    if job.recipe.compile and job.device == "cuda":
        attend_in_blocks(network)
    trainer, watch = _trainer(job, shards, network, partial(Watch, report=report, heart=heart))
    num_trained = trainer.get_num_trainable_parameters()
    prepare_universal(trainer, job.resume_from)
    trainer.train(resume_from_checkpoint=str(job.resume_from) if job.resume_from else None)
    speed = watch.figures.tokens_per_second(job.recipe.steps)
    weights = trainer.accelerator.get_state_dict(trainer.deepspeed)
    if rank == 0:
        _save(*_finished_network(job, network, weights), trainer.state, job.output)
        report(
            Finished(
                parameters=num_parameters,
                trained_parameters=num_trained,
                tokens_trained=trainer.state.num_input_tokens_seen,
                final_loss=history_of(trainer.state)[-1]["loss"],
                tokens_per_second=speed,
                mfu=watch.figures.mfu(speed),
                gpu_memory_bytes=watch.figures.gpu_memory_bytes,
                wall_seconds=time.monotonic() - started,
                devices=devices_of(job),
            )
        )
    distributed.barrier()
    distributed.destroy_process_group()


def _join(job: TrainingJob, rank: int) -> None:
    """Meet the other ranks by a file: the usual store would listen on every interface."""
    distributed.init_process_group(
        "gloo" if job.device == "cpu" else "nccl",
        init_method=f"file://{job.rendezvous / 'ranks'}",
        rank=rank,
        world_size=job.world_size,
        timeout=TIMEOUT,
    )


def _first_network(job: TrainingJob, shards: Shards) -> PreTrainedModel:
    if job.base is not None:
        return load_base(job.base)
    assert job.recipe.architecture is not None
    return build_network(job.recipe.architecture, shards.tokenizer_folder, job.recipe.seed)


def _trainer(
    job: TrainingJob, shards: Shards, network: PreTrainedModel, watching: Callable[[TrainingJob, int], Watch]
) -> tuple[RankTrainer, Watch]:
    if job.recipe.objective == "dpo":
        pairs = PairsInOrder(shards, job.recipe, job.skipped)
        watch = watching(job, round(job.recipe.batch_sequences * pairs.tokens_each))
        trainer = preference_trainer(job, network, pairs, shards.tokenizer_folder, watch)
    else:
        samples = SamplesInOrder(shards, job.recipe, job.skipped)
        watch = watching(job, round(job.recipe.batch_sequences * samples.tokens_each))
        trainer = sequence_trainer(job, network, samples, watch)
    trainer.remove_callback(PrinterCallback)
    return trainer, watch


def _finished_network(
    job: TrainingJob, network: PreTrainedModel, weights: dict[str, torch.Tensor]
) -> tuple[PreTrainedModel, dict[str, torch.Tensor]]:
    """Return the network and its weights as they are published: what an adapter has learned is merged, on the CPU."""
    if job.recipe.lora is None:
        return network, weights
    assert job.base is not None
    # Otherwise a base is loaded in parts under ZeRO stage 3, by all ranks.
    unset_hf_deepspeed_config()
    whole = merged(load_base(job.base), job.recipe.lora, weights, job.output / ADAPTER)
    whole.to(torch.bfloat16 if job.recipe.precision == "bf16" else torch.float32)
    return whole, whole.state_dict()


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
