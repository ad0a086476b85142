"""Plain transformers Trainer on the same network and samples, without DeepSpeed and without Forge's guards.

`trainer_once.py WORK CACHE CHANGES`; prints its figures as JSON.
"""

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import torch
from shapes import opened, recipe
from transformers import Trainer, TrainerCallback, TrainingArguments

from forge_pipelines.processes import available_cores
from forge_pipelines.training.recipe import Recipe
from forge_pipelines.training.worker.network import build_network
from forge_pipelines.training.worker.samples import SamplesInOrder, already_stacked


class Clock(TrainerCallback):
    """Times the steps as Forge does: from the first step's begin to the last one's log."""

    def __init__(self) -> None:
        self.started = self.seconds = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.started = time.monotonic()

    def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
        if "loss" in logs:
            self.seconds = time.monotonic() - self.started


def main(work: Path, changes: dict[str, object]) -> None:
    torch.set_num_threads(available_cores())
    shards, settled = opened(work, recipe(**changes))
    assert settled.architecture is not None
    network = build_network(settled.architecture, shards.tokenizer_folder, settled.seed)
    clock = Clock()
    with TemporaryDirectory(dir=work) as folder:
        trainer = Trainer(
            model=network,
            args=_arguments(folder, settled),
            train_dataset=SamplesInOrder(shards, settled),
            data_collator=already_stacked,
            callbacks=[clock],
        )
        trainer.train()
        trainer.save_model(folder)
    speed = settled.steps * settled.batch_sequences * shards.sequence_length / clock.seconds
    loss = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry][-1]
    used, whole = time.process_time(), time.time() - psutil.Process().create_time()
    print(json.dumps({"tokens_per_second": speed, "seconds": whole, "cpu_seconds": used, "loss": loss}))


def _arguments(folder: str, settled: Recipe) -> TrainingArguments:
    return TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=settled.batch_sequences,
        max_steps=settled.steps,
        learning_rate=settled.learning_rate,
        lr_scheduler_type=settled.schedule,
        warmup_steps=settled.warmup_steps,
        weight_decay=settled.weight_decay,
        max_grad_norm=settled.max_gradient_norm,
        use_cpu=True,
        seed=settled.seed,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        logging_steps=1,
        save_steps=settled.checkpoint_every_steps,
        disable_tqdm=True,
        report_to="none",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[3]))
