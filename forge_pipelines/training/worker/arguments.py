"""A recipe in the words of transformers' Trainer."""

from datetime import timedelta

from transformers import TrainingArguments

from forge_pipelines.training.job import TrainingJob
from forge_pipelines.training.worker.zero import deepspeed_config

TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for the others."""


def arguments_of(job: TrainingJob) -> TrainingArguments:
    """Return what the Trainer is told."""
    recipe = job.recipe
    of_a_rank = recipe.batch_sequences // job.world_size
    micro = recipe.micro_batch_sequences or of_a_rank
    return TrainingArguments(
        output_dir=str(job.checkpoints),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=of_a_rank // micro,
        max_steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule if recipe.schedule != "constant" else "constant_with_warmup",
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
        ddp_timeout=int(TIMEOUT.total_seconds()),
    )
