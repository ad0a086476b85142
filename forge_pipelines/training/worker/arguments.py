"""A recipe in the words of transformers' Trainer."""

import os
import shutil
from datetime import timedelta
from typing import Any

from forge_pipelines.errors import ConfigError
from forge_pipelines.training.deepspeed_config import adam_settings
from forge_pipelines.training.job import TrainingJob
from forge_pipelines.training.recipe import GATHERING_STAGE, Recipe
from forge_pipelines.training.worker.zero import deepspeed_config

TIMEOUT = timedelta(days=1)
"""How long a rank waits for the others: one that hangs is noticed by its missing beats, long before."""


def arguments_of(job: TrainingJob) -> dict[str, Any]:
    """Return what the Trainer is told: the arguments of `transformers.TrainingArguments`, and of what derives from it.

    Those whose default TRL changes are all named.
    """
    recipe = job.recipe
    of_a_rank = recipe.batch_sequences // job.world_size
    micro = recipe.micro_batch_sequences or of_a_rank
    return {
        "output_dir": str(job.checkpoints),
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": of_a_rank // micro,
        "max_steps": recipe.steps,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": recipe.schedule if recipe.schedule != "constant" else "constant_with_warmup",
        "warmup_steps": recipe.warmup_steps,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_gradient_norm,
        "optim": "adamw_torch_fused",
        **adam_settings(recipe.deepspeed),
        "bf16": recipe.precision == "bf16",
        "activation_checkpointing": recipe.gradient_checkpointing,
        "activation_checkpointing_kwargs": {"use_reentrant": False} if recipe.gradient_checkpointing else None,
        "torch_compile": recipe.compile and recipe.zero_stage < GATHERING_STAGE,
        "tf32": False,  # else compiling would turn it on, and fp32 would be none
        "seed": recipe.seed,
        "use_cpu": job.device == "cpu",
        "deepspeed": deepspeed_config(recipe),
        "train_sampling_strategy": "sequential",
        "remove_unused_columns": False,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_steps": recipe.checkpoint_every_steps,
        "disable_tqdm": True,
        "report_to": "none",
        "ddp_timeout": int(TIMEOUT.total_seconds()),
    }


def check_compiler(recipe: Recipe) -> None:
    """Check that what a recipe wants compiled can be compiled.

    Raises:
        ConfigError: torch.compile finds no C++ compiler.
    """
    if recipe.compile and shutil.which(os.environ.get("CXX", "g++")) is None:
        message = "training.compile needs a C++ compiler and there is no g++"
        raise ConfigError(f"{message}; install it, or set training.compile: false")
