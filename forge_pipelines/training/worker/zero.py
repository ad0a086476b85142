"""DeepSpeed's configuration of a recipe, and what DeepSpeed must be told to do differently."""

from typing import Any

import deepspeed
from deepspeed.runtime.utils import clip_grad_norm_

from forge_pipelines.training.recipe import Recipe


def deepspeed_config(recipe: Recipe) -> dict[str, Any]:
    """Return the dictionary that DeepSpeed takes; ``auto`` is filled in by the Trainer, from its own arguments.

    The optimizer is torch's fused AdamW, which needs no compiler. Under bf16, DeepSpeed keeps an fp32 master copy of
    the weights: in pure bf16 most updates would round to nothing.
    """
    return {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": recipe.precision == "bf16"},
        "zero_optimization": {
            "stage": recipe.zero_stage,
            "stage3_gather_16bit_weights_on_model_save": True,
        },
        "zero_allow_untested_optimizer": True,
    }


def adjust_deepspeed() -> None:
    """Leave out the one operation that would be compiled, and keep the gradient's norm where DeepSpeed forgets it."""
    # It serves inference alone; building it takes a compiler and a minute.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    # ZeRO stage 0 in fp32 clips here.
    deepspeed.DeepSpeedEngine.clip_fp32_gradients = _clip_and_keep_norm


def _clip_and_keep_norm(engine: deepspeed.DeepSpeedEngine) -> None:
    engine._global_grad_norm = clip_grad_norm_(engine.module.parameters(), engine.gradient_clipping(), mpu=engine.mpu)
