"""A bare PyTorch loop over the same samples: the same network, optimizer, clipping, schedule, log and checkpoints.

`bare_once.py WORK CACHE CHANGES`; prints its figures as JSON.
"""

import json
import math
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import torch
from shapes import opened, recipe

from forge_pipelines.processes import available_cores
from forge_pipelines.training.recipe import Recipe
from forge_pipelines.training.worker.network import build_network
from forge_pipelines.training.worker.samples import SamplesInOrder


def main(work: Path, changes: dict[str, object]) -> None:
    torch.set_num_threads(available_cores())
    shards, settled = opened(work, recipe(**changes))
    assert settled.architecture is not None
    network = build_network(settled.architecture, shards.tokenizer_folder, settled.seed).train()
    optimizer, samples = _optimizer(network, settled), SamplesInOrder(shards, settled)
    size, losses = settled.batch_sequences, []
    with TemporaryDirectory(dir=work) as folder, Path(folder, "log").open("w") as log:
        started = time.monotonic()
        for step in range(1, settled.steps + 1):
            for group in optimizer.param_groups:
                group["lr"] = _rate(settled, step - 1)
            batch = samples.__getitems__(range((step - 1) * size, step * size))
            loss = network(**batch, use_cache=False).loss
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), settled.max_gradient_norm)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            log.write(f"{step} {losses[-1]} {norm.item()}\n")
            seconds = time.monotonic() - started
            if step % settled.checkpoint_every_steps == 0:
                _save(network, optimizer, Path(folder, f"{step}.pt"))
        network.save_pretrained(Path(folder, "model"))
    used, whole = time.process_time(), time.time() - psutil.Process().create_time()
    speed = settled.steps * size * shards.sequence_length / seconds
    print(json.dumps({"tokens_per_second": speed, "seconds": whole, "cpu_seconds": used, "loss": losses[-1]}))


def _optimizer(network: torch.nn.Module, settled: Recipe) -> torch.optim.Optimizer:
    matrices = [each for each in network.parameters() if each.ndim > 1]
    vectors = [each for each in network.parameters() if each.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": settled.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settled.learning_rate, fused=True)


def _rate(settled: Recipe, step: int) -> float:
    if step < settled.warmup_steps:
        return settled.learning_rate * step / settled.warmup_steps
    done = (step - settled.warmup_steps) / (settled.steps - settled.warmup_steps)
    return settled.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _save(network: torch.nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> None:
    with path.open("wb") as file:
        torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict()}, file)
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[3]))
