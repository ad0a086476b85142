"""DeepSpeed's configuration of a recipe, and what DeepSpeed must be told to do differently."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import deepspeed
import torch
from deepspeed.accelerator.cuda_accelerator import CUDA_Accelerator
from deepspeed.runtime.config import DeepSpeedConfigError
from deepspeed.runtime.utils import clip_grad_norm_
from deepspeed.runtime.zero.utils import ZeRORuntimeException
from pydantic import ValidationError

from forge_pipelines.errors import ConfigError
from forge_pipelines.training.deepspeed_config import handed_on
from forge_pipelines.training.recipe import Recipe

_REFUSALS = (DeepSpeedConfigError, ZeRORuntimeException, AssertionError, ValueError, TypeError, KeyError)
"""How DeepSpeed says that it does not take a configuration; pydantic's `ValidationError` is a `ValueError`."""


def deepspeed_config(recipe: Recipe) -> dict[str, Any]:
    """Return the dictionary that DeepSpeed takes; ``auto`` is filled in by the Trainer, from its own arguments.

    The optimizer is torch's fused AdamW, which needs no compiler, offloaded or not. Under bf16, DeepSpeed keeps an fp32
    master copy of the weights: in pure bf16 most updates would round to nothing.
    """
    given = handed_on(recipe.deepspeed or {})
    zero = {"stage": recipe.zero_stage, "stage3_gather_16bit_weights_on_model_save": True}
    if not any(key.startswith("offload") for key in given.get("zero_optimization", {})):
        zero |= _offloads(recipe)
    ours = {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": recipe.precision == "bf16"},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }
    return _together(ours, given)


def _offloads(recipe: Recipe) -> dict[str, Any]:
    parts = {"none": (), "optimizer": ("optimizer",), "parameters": ("optimizer", "param")}[recipe.offload]
    return {f"offload_{part}": {"device": "cpu"} for part in parts}


def _together(ours: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, mapping by mapping; what is given stands where both say something."""
    both = {
        key: _together(ours[key], value) if isinstance(value, Mapping) and isinstance(ours.get(key), Mapping) else value
        for key, value in given.items()
    }
    return {**ours, **both}


def adjust_deepspeed(recipe: Recipe) -> None:
    """Leave out what would be compiled, keep the gradient's norm where DeepSpeed forgets it, and take GPUs by uuid.

    What DeepSpeed refuses of a configuration that a person wrote becomes a `ConfigError`.
    """
    # It serves inference alone; building it takes a compiler and a minute.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    # It would read CUDA_VISIBLE_DEVICES as numbers, and a lease names devices by their uuids.
    CUDA_Accelerator.available_memory = _free_memory
    # ZeRO stage 0 in fp32 clips here.
    deepspeed.DeepSpeedEngine.clip_fp32_gradients = _clip_and_keep_norm
    if recipe.deepspeed is not None:
        deepspeed.initialize = _in_one_sentence(deepspeed.initialize)


def _in_one_sentence(initialize: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(initialize)
    def initialize_or_refuse(*args: Any, **options: Any) -> Any:
        try:
            return initialize(*args, **options)
        except _REFUSALS as error:
            raise ConfigError(f"DeepSpeed does not take training.deepspeed: {_reason(error)}; change it") from error

    return initialize_or_refuse


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))} is {first['input']!r} ({first['msg']})"


def _free_memory(_accelerator: CUDA_Accelerator, device_index: int | None = None) -> int:
    free, _ = torch.cuda.mem_get_info(device_index)
    return free


def _clip_and_keep_norm(engine: deepspeed.DeepSpeedEngine) -> None:
    engine._global_grad_norm = clip_grad_norm_(engine.module.parameters(), engine.gradient_clipping(), mpu=engine.mpu)
