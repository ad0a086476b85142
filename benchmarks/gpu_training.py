"""On one NVIDIA GPU: MFU of the ranks beside a bare loop, memory beside the formula, and a kill and resume.

`python benchmarks/gpu_training.py [--steps N] [--micro N] [--tiny] [PART …]`: all parts where none is named; a part is
`resume`, or NETWORK.WAY, see NETWORKS and WAYS. `--tiny` runs it on a CPU with networks of seconds, to see that it
works. Neither a store nor Dagster is used: the ranks are started as the stage starts them, and need torch,
transformers, deepspeed, and what the worker imports beside them (pyarrow, datasets, pydantic, psutil, nvidia-ml-py).

Documents are as long as a sequence, so that attention is causal and needs no mask; `packed` has six in a sequence. The
ranks add up in one order, but for `any_order`; the bare loops do not.
"""

import argparse
import gc
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tokenizers import Tokenizer, models

from forge_pipelines.errors import ForgeError
from forge_pipelines.shards.order import CorpusRange
from forge_pipelines.shards.packing import Packer
from forge_pipelines.shards.reading import CORPORA, LAYOUT, SEQUENCES, TOKENIZER, ShardsLayout, open_shards
from forge_pipelines.shards.tokenizer import BOS, EOS, PAD, save_tokenizer
from forge_pipelines.training.cards import find_card
from forge_pipelines.training.checkpoints import checkpoint_folder, latest_complete
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.job import Finished, StepDone, TrainingJob
from forge_pipelines.training.memory import layout_of, layout_that_fits, memory_of
from forge_pipelines.training.ranks import TrainingEnvironment, run_ranks
from forge_pipelines.training.recipe import Recipe, recipe_of
from forge_pipelines.training.sizing import NetworkShape, size_up, sizing_job
from forge_pipelines.training.speed import flops_per_token
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
RESUME, RESUMED, RESUMED_STEPS = "resume", "smollm2_135m", 6
CHECKPOINTED = "smollm2_135m"
"""The other one saves at its end alone: 17 GB."""
TINY = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 3}
TINY["num_key_value_heads"] = 3
NUM_SEQUENCES, BATCH = 512, 16
WHOLE, PACKED = "whole", "packed"
DOCUMENTS = {WHOLE: 1, PACKED: 6}
"""Of how many documents a sequence is made."""
RANKS, BARES = "ranks", {"bare": False, "bare_compiled": True}
"""By the recipe's defaults; and the loops without the ranks, one of which has its layers compiled, too."""
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    RANKS: (WHOLE, {}),
    "plain": (WHOLE, {"compile": False}),
    "any_order": (WHOLE, {"deterministic": False}),
    "packed": (PACKED, {}),
}
"""The shards of each way to train by ranks, and what it changes in the recipe."""
PARTS = (*(f"{network}.{way}" for network in NETWORKS for way in (*WAYS, *BARES)), RESUME)
WARM_STEPS = 3
LOG_CHARACTERS = 2000


class Killed(Exception):
    """The ranks were ended in the midst of a training."""


def main(parts: Sequence[str], *, tiny: bool, steps: int, micro: int | None) -> None:
    if not tiny and not torch.cuda.is_available():
        print("gpu_training: this needs an NVIDIA GPU, and torch sees none; --tiny shows on a CPU that it works")
        return
    with tempfile.TemporaryDirectory(prefix="forge-gpu-") as folder:
        for name in NETWORKS:
            ways = [way for way in (*WAYS, *BARES) if f"{name}.{way}" in parts]
            work, length = Path(folder) / name, length_of(tiny=tiny)
            if not ways and not (name == RESUMED and RESUME in parts):
                continue
            for shards, documents in DOCUMENTS.items():
                write_shards(work / shards, vocabulary_of(name, tiny=tiny), length, documents)
            recipe = settled(name, steps, micro, tiny=tiny)
            job = sizing_job(recipe, length, vocabulary_of(name, tiny=tiny), None)
            compare(name, work, recipe, size_up(name, job, Path(folder) / "sizing.log").shape, ways)
        if RESUME in parts:
            resume(Path(folder) / RESUMED, settled(RESUMED, RESUMED_STEPS, micro or 1, tiny=tiny))


def length_of(*, tiny: bool) -> int:
    return 64 if tiny else 4096


def vocabulary_of(name: str, *, tiny: bool) -> int:
    return 500 if tiny else NETWORKS[name][1]


def settled(name: str, steps: int, micro: int | None, *, tiny: bool) -> Recipe:
    architecture: dict[str, Any] = NETWORKS[name][0] | (TINY if tiny else {})
    config = TrainingConfig.model_validate(
        {
            "architecture": architecture,
            "steps": steps,
            "batch_sequences": BATCH,
            "micro_batch_sequences": micro,
            "checkpoint_every_steps": max(steps // 3, 1) if name == CHECKPOINTED else steps,
            "warmup_steps": 2,
            "gpus": {"count": 0 if tiny else 1},
        }
    )
    precision: Literal["fp32", "bf16"] = "fp32" if tiny else "bf16"
    return recipe_of(config, NUM_SEQUENCES, length_of(tiny=tiny), precision, gains_by_compiling=not tiny)


def write_shards(folder: Path, vocabulary: int, length: int, documents: int) -> None:
    """Write sequences of random tokens, each made of so many documents."""
    words = {PAD: 0, BOS: 1, EOS: 2, **{f"word{number}": number for number in range(3, vocabulary)}}
    folder.mkdir(parents=True)
    save_tokenizer(Tokenizer(models.WordLevel(words, PAD)), folder / TOKENIZER, length)
    dice = np.random.default_rng(0)
    lengths = [length // documents] * (documents - 1)
    lengths.append(length - sum(lengths))
    with Packer(folder / SEQUENCES, length, pad_id=0) as packer:
        for index in range(NUM_SEQUENCES):
            for place, tokens in enumerate(lengths):
                packer.add(index * documents + place, dice.integers(3, vocabulary, tokens).astype(np.int32))
        packer.finish_sequence()
    corpus = CorpusRange(
        corpus="random", fingerprint="f" * 64, weight=1, first_sequence=0, num_sequences=packer.num_sequences
    )
    (folder / CORPORA).write_text(json.dumps([corpus.model_dump()]))
    (folder / LAYOUT).write_text(ShardsLayout(examples="texts", sequence_length=length).model_dump_json())


def compare(name: str, work: Path, recipe: Recipe, shape: NetworkShape, ways: Sequence[str]) -> None:
    """Train a network by the ranks, in several ways, and by a bare loop."""
    length = open_shards(work / WHOLE).sequence_length
    recipe = fitted(recipe, shape, length)
    at_once = recipe.micro_batch_sequences or recipe.batch_sequences
    batch = f"{recipe.batch_sequences} sequences a step, {at_once} at once"
    print(f"{name}: {shape.parameters:,} parameters, {length} tokens, {recipe.precision}, {batch}", flush=True)
    speeds = {}
    for way in ways:
        if way in BARES:
            speeds[way], loss = train_bare(work, recipe, is_compiled=BARES[way])
            print(f"  {way}: {said(speeds[way], recipe, shape, length)}, final loss {loss:.4f}", flush=True)
            gc.collect()
            torch.cuda.empty_cache()
        else:
            speeds[way] = show(work, way, recipe.model_copy(update=WAYS[way][1]), shape)
    for way in BARES:
        if {RANKS, way} <= speeds.keys():
            print(f"  ranks / {way} {speeds[RANKS] / speeds[way]:.3f}", flush=True)


def fitted(recipe: Recipe, shape: NetworkShape, length: int) -> Recipe:
    """Say the micro-batch as the stage does: as many sequences as fit the GPU's memory."""
    if recipe.micro_batch_sequences or not recipe.gpus.count:
        return recipe
    layout = layout_that_fits(shape, layout_of(recipe, length), recipe.batch_sequences, torch.cuda.mem_get_info()[1])
    return recipe.model_copy(update={"micro_batch_sequences": layout.micro_batch})


def show(work: Path, way: str, recipe: Recipe, shape: NetworkShape) -> float:
    """Train by the ranks, print what was measured, and return tokens a second of steps without a checkpoint."""
    shards, times = WAYS[way][0], list[float]()
    finished = launch(work, way, shards, recipe, lambda _: times.append(time.monotonic()))
    saving = recipe.checkpoint_every_steps
    gaps = [after - before for before, after in pairwise(times)]
    usual = float(np.median([gap for step, gap in enumerate(gaps, 1) if step >= WARM_STEPS and step % saving]))
    length = open_shards(work / shards).sequence_length
    speed = recipe.batch_sequences * length / usual
    in_all = said(finished.tokens_per_second, recipe, shape, length)
    print(f"  {way}: {said(speed, recipe, shape, length)}, final loss {finished.final_loss:.4f}")
    print(f"    over all steps, the first and checkpoints included: {in_all}")
    if finished.gpu_memory_bytes:
        memory = memory_of(shape, layout_of(recipe, length), on_gpu=True)
        formula = memory.total - memory.parts["reserve"] - memory.runtime
        print(f"    {finished.gpu_memory_bytes / 1e9:.1f} GB allocated at most, by the formula {formula / 1e9:.1f} GB")
    stalls = [gap - usual for step, gap in enumerate(gaps, 1) if step % saving == 0]
    if stalls:
        kept = [file.stat().st_size for file in (work / way / "checkpoints").rglob("*") if file.is_file()]
        gigabytes = sum(kept) / len(list((work / way / "checkpoints").iterdir())) / 1e9
        print(f"    a checkpoint of {gigabytes:.2f} GB stalls for {np.median(stalls):.1f} s", flush=True)
    shutil.rmtree(work / way)
    return speed


def resume(work: Path, recipe: Recipe) -> None:
    """Kill the ranks in the midst of a training, let it go on, and compare it with one that nobody killed."""
    at = 2 * recipe.checkpoint_every_steps + 1

    def kill(done: StepDone) -> None:
        if done.step == at:
            raise Killed

    control = launch(work, "control", WHOLE, recipe, lambda _: None)
    try:
        launch(work, "killed", WHOLE, recipe, kill)
    except Killed:
        again = launch(work, "killed", WHOLE, recipe, lambda _: None)
    hashes = {each: weights_hash(work / each / "output") for each in ("control", "killed")}
    same = "bitwise the same weights" if len(set(hashes.values())) == 1 else "other weights"
    print(f"resume: killed at step {at}, {same}; final losses {control.final_loss:.6f} and {again.final_loss:.6f}")


def launch(work: Path, name: str, shards: str, recipe: Recipe, on_step: Callable[[StepDone], None]) -> Finished:
    """Run the ranks, on from the last checkpoint that this name has."""
    folder, device = work / name, "cuda" if recipe.gpus.count else "cpu"
    (folder / "output").mkdir(parents=True, exist_ok=True)
    last = latest_complete(folder / "checkpoints", "0" * 64, print)
    job = TrainingJob.model_validate(
        {
            "name": work.name,
            "key": "0" * 64,
            "shards": work / shards,
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
    environment, log = TrainingEnvironment(work / "cache", work / "logs", recipe.gpus.count), folder / "ranks.log"
    try:
        return run_ranks(job, folder, environment, log, on_step)
    except ForgeError:
        # The log goes with the folder.
        print(log.read_text()[-LOG_CHARACTERS:])
        raise


def train_bare(work: Path, recipe: Recipe, *, is_compiled: bool) -> tuple[float, float]:
    """Return tokens a second after the first steps, and the last loss, of a loop without any library.

    As under DeepSpeed, weights and gradients are in the recipe's precision, and AdamW's in fp32.
    """
    shards = open_shards(work / WHOLE)
    assert recipe.architecture is not None
    device, dtype = "cuda" if recipe.gpus.count else "cpu", torch.bfloat16 if recipe.precision == "bf16" else None
    network = build_network(recipe.architecture, shards.tokenizer_folder, recipe.seed).to(device, dtype).train()
    if is_compiled:
        for layer in network.model.layers:
            layer.compile()
    weights = list(network.parameters())
    masters = [weight.detach().float().clone().requires_grad_() for weight in weights]
    optimizer = torch.optim.AdamW(masters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    samples, micro = SamplesInOrder(shards, recipe), recipe.micro_batch_sequences or BATCH
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
    return tokens / float(np.median(np.diff(times)[WARM_STEPS:])), loss


def said(tokens_per_second: float, recipe: Recipe, shape: NetworkShape, length: int) -> str:
    card = find_card(torch.cuda.get_device_name()) if recipe.gpus.count else None
    peak = card.flops(recipe.precision) if card else None
    mfu = f"MFU {tokens_per_second * flops_per_token(shape, length) / peak:.1%}" if peak else "MFU unknown"
    return f"{tokens_per_second:,.0f} tokens/s, {mfu}"


def weights_hash(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="MFU beside a bare loop, and a kill and resume, on one NVIDIA GPU.")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--micro", type=int, help="sequences at once; default: as many as fit")
    parser.add_argument("--tiny", action="store_true", help="a network of seconds, on a CPU")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"default: all of {', '.join(PARTS)}")
    arguments = parser.parse_args()
    if unknown := sorted({*arguments.parts} - {*PARTS}):
        parser.error(f"there is no part {unknown[0]}")
    main(arguments.parts or PARTS, tiny=arguments.tiny, steps=arguments.steps, micro=arguments.micro)
