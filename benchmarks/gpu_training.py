"""On one NVIDIA GPU: MFU of the ranks beside a bare loop, in bf16, and a kill and resume.

`python benchmarks/gpu_training.py [--steps N] [--micro N] [--tiny]`; `--tiny` runs all of it on a CPU with a network of
seconds, to see that it works. Neither a store nor Dagster is used: the ranks are started as the stage starts them, and
need torch, transformers, deepspeed, and what the worker imports beside them (pyarrow, datasets, pydantic, psutil,
nvidia-ml-py). Documents are as long as a sequence, so that attention is causal and needs no mask, on both sides.
"""

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models

from forge_pipelines.shards.order import CorpusRange
from forge_pipelines.shards.packing import Packer
from forge_pipelines.shards.reading import CORPORA, LAYOUT, SEQUENCES, TOKENIZER, ShardsLayout, open_shards
from forge_pipelines.shards.tokenizer import BOS, EOS, PAD, save_tokenizer
from forge_pipelines.training.cards import find_card
from forge_pipelines.training.checkpoints import checkpoint_folder, latest_complete
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.job import Finished, StepDone, TrainingJob
from forge_pipelines.training.ranks import TrainingEnvironment, run_ranks
from forge_pipelines.training.recipe import Recipe, recipe_of
from forge_pipelines.training.worker.figures import model_flops_per_token
from forge_pipelines.training.worker.network import build_network
from forge_pipelines.training.worker.samples import SamplesInOrder

MISTRAL = {
    "model_type": "mistral",
    "hidden_size": 2048,
    "intermediate_size": 7168,
    "num_hidden_layers": 19,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "max_position_embeddings": 4096,
    "sliding_window": None,
}
"""1.2 billion parameters with a vocabulary of 32,768."""
SMOLLM2 = {
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
"""SmolLM2-135M's, with its vocabulary of 49,152."""
NETWORKS = {"mistral_1b": (MISTRAL, 32_768), "smollm2_135m": (SMOLLM2, 49_152)}
"""The shape of each network that is measured, and its vocabulary."""
RESUMED, RESUMED_STEPS = "smollm2_135m", 12
TINY = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 3}
TINY["num_key_value_heads"] = 3
NUM_SEQUENCES = 512
WARM_STEPS = 3


class Killed(Exception):
    """The ranks were ended in the midst of a training."""


def main(*, tiny: bool, steps: int, micro: int) -> None:
    if not tiny and not torch.cuda.is_available():
        print("gpu_training: this needs an NVIDIA GPU, and torch sees none; --tiny shows on a CPU that it works")
        return
    with tempfile.TemporaryDirectory(prefix="forge-gpu-") as folder:
        for name, (_, vocabulary) in NETWORKS.items():
            work = Path(folder) / name
            write_shards(work / "shards", 500 if tiny else vocabulary, length_of(tiny=tiny))
            compare(name, work, settled(name, steps, micro, tiny=tiny))
        resume(Path(folder) / RESUMED, settled(RESUMED, RESUMED_STEPS, micro, tiny=tiny))


def length_of(*, tiny: bool) -> int:
    return 64 if tiny else 4096


def settled(name: str, steps: int, micro: int, *, tiny: bool) -> Recipe:
    architecture: dict[str, Any] = NETWORKS[name][0] | (TINY if tiny else {})
    config = TrainingConfig.model_validate(
        {
            "architecture": architecture,
            "steps": steps,
            "batch_sequences": 2 * micro,
            "micro_batch_sequences": micro,
            "checkpoint_every_steps": max(steps // 3, 1),
            "warmup_steps": 2,
            "gpus": {"count": 0 if tiny else 1},
        }
    )
    return recipe_of(config, NUM_SEQUENCES, length_of(tiny=tiny), "fp32" if tiny else "bf16")


def write_shards(folder: Path, vocabulary: int, length: int) -> None:
    """Write sequences of random tokens, each a document."""
    words = {PAD: 0, BOS: 1, EOS: 2, **{f"word{number}": number for number in range(3, vocabulary)}}
    folder.mkdir(parents=True)
    save_tokenizer(Tokenizer(models.WordLevel(words, PAD)), folder / TOKENIZER, length)
    dice = np.random.default_rng(0)
    with Packer(folder / SEQUENCES, length, pad_id=0) as packer:
        for index in range(NUM_SEQUENCES):
            packer.add(index, dice.integers(3, vocabulary, length).astype(np.int32))
        packer.finish_sequence()
    corpus = CorpusRange(
        corpus="random", fingerprint="f" * 64, weight=1, first_sequence=0, num_sequences=packer.num_sequences
    )
    (folder / CORPORA).write_text(json.dumps([corpus.model_dump()]))
    (folder / LAYOUT).write_text(ShardsLayout(examples="texts", sequence_length=length).model_dump_json())


def compare(name: str, work: Path, recipe: Recipe) -> None:
    """Train a network by the ranks, and by a bare loop."""
    shards = open_shards(work / "shards")
    tokens = recipe.batch_sequences * shards.sequence_length
    times: list[float] = []
    forge = launch(work, "whole", recipe, lambda _: times.append(time.monotonic()))
    saving = recipe.checkpoint_every_steps
    gaps = [after - before for before, after in pairwise(times)]
    speed = tokens / float(np.median([gap for step, gap in enumerate(gaps, 1) if step >= WARM_STEPS and step % saving]))
    bare, flops, loss = train_bare(work, recipe)
    peak = peak_flops(recipe)
    print(f"{name}: {forge.parameters:,} parameters, {shards.sequence_length} tokens, {recipe.precision}", flush=True)
    memory = f", {forge.gpu_memory_bytes / 1e9:.1f} GB" if forge.gpu_memory_bytes else ""
    print(f"  ranks {said(speed, flops, peak)}{memory}, final loss {forge.final_loss:.4f}; steps without a checkpoint")
    print(f"  ranks {said(forge.tokens_per_second, flops, peak)} over all steps, starts and checkpoints included")
    print(f"  bare  {said(bare, flops, peak)}, final loss {loss:.4f}; ranks / bare {speed / bare:.3f}", flush=True)


def resume(work: Path, recipe: Recipe) -> None:
    """Kill the ranks in the midst of a training, let it go on, and compare it with one that nobody killed."""
    at = 2 * recipe.checkpoint_every_steps + 1

    def kill(done: StepDone) -> None:
        if done.step == at:
            raise Killed

    control = launch(work, "control", recipe, lambda _: None)
    try:
        launch(work, "killed", recipe, kill)
    except Killed:
        again = launch(work, "killed", recipe, lambda _: None)
    hashes = {each: weights_hash(work / each / "output") for each in ("control", "killed")}
    same = "bitwise the same weights" if len(set(hashes.values())) == 1 else "other weights"
    print(f"resume: killed at step {at}, {same}; final losses {control.final_loss:.6f} and {again.final_loss:.6f}")


def launch(work: Path, name: str, recipe: Recipe, on_step: Callable[[StepDone], None]) -> Finished:
    """Run the ranks, on from the last checkpoint that this name has."""
    folder, device = work / name, "cuda" if recipe.gpus.count else "cpu"
    (folder / "output").mkdir(parents=True, exist_ok=True)
    last = latest_complete(folder / "checkpoints", "0" * 64, print)
    job = TrainingJob.model_validate(
        {
            "name": work.name,
            "key": "0" * 64,
            "shards": work / "shards",
            "base": None,
            "checkpoints": folder / "checkpoints",
            "output": folder / "output",
            "rendezvous": folder / "rendezvous",
            "recipe": recipe,
            "device": device,
            "world_size": 1,
            "resume_from": checkpoint_folder(folder / "checkpoints", last.step) if last else None,
            "skipped": (),
        }
    )
    environment = TrainingEnvironment(work / "cache", work / "logs", recipe.gpus.count)
    return run_ranks(job, folder, environment, folder / "ranks.log", on_step)


def train_bare(work: Path, recipe: Recipe) -> tuple[float, int, float]:
    """Return tokens a second after the first steps, FLOPs a token and the last loss of a loop without any library.

    As under DeepSpeed, weights and gradients are in the recipe's precision, and AdamW's in fp32.
    """
    shards = open_shards(work / "shards")
    assert recipe.architecture is not None
    device, dtype = "cuda" if recipe.gpus.count else "cpu", torch.bfloat16 if recipe.precision == "bf16" else None
    network = build_network(recipe.architecture, shards.tokenizer_folder, recipe.seed)
    flops = model_flops_per_token(network, shards.sequence_length)
    network = network.to(device, dtype).train()
    weights = list(network.parameters())
    masters = [weight.detach().float().clone().requires_grad_() for weight in weights]
    optimizer = torch.optim.AdamW(masters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    samples, micro = SamplesInOrder(shards, recipe), recipe.micro_batch_sequences or 1
    times, loss = [], 0.0
    for step in range(recipe.steps):
        first = step * recipe.batch_sequences
        losses = []
        for start in range(first, first + recipe.batch_sequences, micro):
            batch = samples.__getitems__(range(start, start + micro))
            part = network(**{name: each.to(device) for name, each in batch.items()}, use_cache=False).loss
            (part * micro / recipe.batch_sequences).backward()
            losses.append(part.detach())
        for master, weight in zip(masters, weights, strict=True):
            assert weight.grad is not None
            master.grad, weight.grad = weight.grad.float(), None
        torch.nn.utils.clip_grad_norm_(masters, recipe.max_gradient_norm)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_copy_(weights, masters)
        loss = torch.stack(losses).mean().item()
        times.append(time.monotonic())
    tokens = recipe.batch_sequences * shards.sequence_length
    return tokens / float(np.median(np.diff(times)[WARM_STEPS:])), flops, loss


def peak_flops(recipe: Recipe) -> float | None:
    card = find_card(torch.cuda.get_device_name()) if recipe.gpus.count else None
    return card.flops(recipe.precision) if card else None


def said(tokens_per_second: float, flops: int, peak: float | None) -> str:
    share = f", MFU {tokens_per_second * flops / peak:.1%}" if peak else ", MFU unknown"
    return f"{tokens_per_second:,.0f} tokens/s{share}"


def weights_hash(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="MFU beside a bare loop, and a kill and resume, on one NVIDIA GPU.")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--micro", type=int, default=4, help="sequences at once")
    parser.add_argument("--tiny", action="store_true", help="a network of seconds, on a CPU")
    arguments = parser.parse_args()
    main(tiny=arguments.tiny, steps=arguments.steps, micro=arguments.micro)
