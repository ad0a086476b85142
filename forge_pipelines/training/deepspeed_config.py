"""A DeepSpeed configuration that a person wrote: what of it the recipe says too, and what may not stand in it.

A YAML file is checked when it is loaded, so nothing here imports torch or DeepSpeed.
"""

import math
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

_AUTO = "auto"
_NUMBERS: Mapping[str, str] = {
    "train_batch_size": "batch_sequences",
    "train_micro_batch_size_per_gpu": "micro_batch_sequences",
    "gradient_clipping": "max_gradient_norm",
    "zero_optimization.stage": "zero_stage",
    "optimizer.params.lr": "learning_rate",
    "optimizer.params.weight_decay": "weight_decay",
}
_BUFFERS: Mapping[str, int] = {
    "zero_optimization.reduce_bucket_size": 1,
    "zero_optimization.stage3_max_live_parameters": 0,
    "zero_optimization.max_live_parameters": 0,
}
"""Buffers, and how small they may be: of gradients that wait for other ranks; of other ranks' weights, by two names."""
BUCKET, LIVE = 500_000_000, 1_000_000_000
"""How many they are where nothing is said."""
_PRECISION = "bf16.enabled"
_ACCUMULATION = "gradient_accumulation_steps"
_NOT_HANDED_ON = {"optimizer", *_NUMBERS, _ACCUMULATION}
"""The recipe says it; a number may stand there as a text."""
_GATHERED = "zero_optimization.stage3_gather_16bit_weights_on_model_save"
_OFFLOADS = ("optimizer", "param")
"""What stands after ``zero_optimization.offload_``."""
_ADAM = ("betas", "eps", "lr", "weight_decay")
_SECTIONS = ("bf16", "optimizer", "optimizer.params", "zero_optimization")

_FORMAT = "the number format is training.precision's"
_CHECKPOINTS = "checkpoints are written and verified by Forge"
_ORDER = "which sample comes when is the order function's"
_FIGURES = "figures are shown by Forge, and nothing leaves this machine"
_REMOVED = "DeepSpeed has removed it"
_RANKS = "each rank reads samples of its own, and training.gpus says how many ranks there are"
_REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("fp16", "amp", "bfloat16", "torch_autocast"), _FORMAT),
    **dict.fromkeys(("checkpoint", "datastates_ckpt", "nebula"), _CHECKPOINTS),
    **dict.fromkeys(("data_efficiency", "curriculum_learning"), _ORDER),
    **dict.fromkeys(("flops_profiler", "tensorboard", "wandb", "comet", "csv_monitor"), _FIGURES),
    **dict.fromkeys(("elasticity", "autotuning", "tensor_parallel", "pipeline"), _RANKS),
    **dict.fromkeys(("sequence_parallel_size", "data_parallel_size"), _RANKS),
    **dict.fromkeys(("compression_training", "quantize_training", "sparse_gradients", "eigenvalue"), _REMOVED),
    **dict.fromkeys(("sparse_attention", "graph_harvesting", "progressive_layer_drop"), _REMOVED),
    "scheduler": "the learning rate follows training.schedule and training.warmup_steps",
}
"""Sections that may not stand there, unless they say that they are not enabled."""
_HANDED_ON = (
    *("activation_checkpointing", "aio", "bf16", "comms_logger", "communication_data_type", "compile", "data_types"),
    *("dataloader_drop_last", "disable_allgather", "disable_python_gc", "dump_state", "expert_parallel"),
    *("gradient_allreduce_op", "gradient_predivide_factor", "hybrid_engine", "log_level"),
    *("managed_gradient_accumulation", "memory_breakdown", "prescale_gradients"),
    *("seq_parallel_communication_data_type", "steps_per_print", "timers", "use_data_before_expert_parallelism"),
    *("vocabulary_size", "wall_clock_breakdown", "weight_quantization", "zero_allow_untested_optimizer"),
    *("zero_force_ds_cpu_optimizer", "zero_optimization"),
)
_TAKEN = frozenset((*_HANDED_ON, *(path.partition(".")[0] for path in _NOT_HANDED_ON)))
KEYS = _TAKEN | _REFUSED.keys()
"""All that DeepSpeed looks for; what has another name it would not look at, and say nothing."""


def complete(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe with the values that it leaves unsaid and its DeepSpeed configuration says.

    Args:
        said: a recipe as it stands in the YAML, not yet checked.
    """
    given = said.get("deepspeed")
    if not isinstance(given, Mapping):
        return dict(said)
    taken = {name: value for name, (_, value) in _said_by(given).items() if said.get(name) in (None, _AUTO)}
    if said.get("batch_tokens") is not None:
        taken.pop("batch_sequences", None)
    return {**said, **taken}


def find_contradiction(given: Mapping[str, Any], recipe: Mapping[str, Any], ranks: int) -> str | None:
    """Return in one sentence what of a DeepSpeed configuration a recipe cannot go with, or None.

    Args:
        given: the configuration.
        recipe: the recipe's fields, what `complete` took from the configuration included.
        ranks: how many processes train together.
    """
    return (
        _find_refused(given)
        or _find_unknown(given)
        or _find_odd(given)
        or _find_other_optimizer(given)
        or next(_differences(given, recipe), None)
        or _find_other_batch(given, recipe, ranks)
    )


def handed_on(given: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return what of a configuration DeepSpeed is handed: not what is empty, ``auto``, off, or the recipe's to say.

    Args:
        given: the configuration, or the section of it that stands at ``path``, a dotted path that ends in a dot.
    """
    left_out = _NOT_HANDED_ON | _REFUSED.keys()
    values = {key: value for key, value in given.items() if value not in (None, _AUTO) and path + key not in left_out}
    return {
        key: handed_on(value, f"{path}{key}.") if isinstance(value, Mapping) else value for key, value in values.items()
    }


def adam_settings(given: Mapping[str, Any] | None) -> dict[str, float]:
    """Return AdamW's betas and epsilon where a configuration says them, in the words of transformers' Trainer."""
    betas, epsilon = (_at(given or {}, f"optimizer.params.{name}") for name in ("betas", "eps"))
    said = {} if betas is None else {"adam_beta1": float(betas[0]), "adam_beta2": float(betas[1])}
    return said if epsilon is None else {**said, "adam_epsilon": float(epsilon)}


def buffers(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return how large a configuration wants DeepSpeed's buffers, in the words of `memory.Layout`."""
    said = given or {}
    bucket, *live = (_number(_at(said, path)) for path in _BUFFERS)
    return {
        "bucket": int(BUCKET if bucket is None else bucket),
        "two_buckets": _at(said, "zero_optimization.overlap_comm") is True,
        "live": int(next((each for each in live if each is not None), LIVE)),
    }


def _said_by(given: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """Return what a configuration says of each of the recipe's fields, and where."""
    said: dict[str, tuple[str, Any]] = {field: (path, _number(_at(given, path))) for path, field in _NUMBERS.items()}
    bf16 = _at(given, _PRECISION)
    said["precision"] = (_PRECISION, None if bf16 is None else "bf16" if bf16 else "fp32")
    said["offload"] = _offload(given)
    return {field: (path, value) for field, (path, value) in said.items() if value is not None}


def _offload(given: Mapping[str, Any]) -> tuple[str, str | None]:
    paths = {part: f"zero_optimization.offload_{part}.device" for part in _OFFLOADS}
    devices = {part: _at(given, path) for part, path in paths.items()}
    if devices["param"] not in (None, "none"):
        return paths["param"], "parameters"
    if devices["optimizer"] not in (None, "none"):
        return paths["optimizer"], "optimizer"
    return paths["optimizer"], None if devices["optimizer"] is None else "none"


def _find_refused(given: Mapping[str, Any]) -> str | None:
    for key, reason in _REFUSED.items():
        section = given.get(key)
        enabled = section.get("enabled", True) if isinstance(section, Mapping) else section
        if enabled not in (None, False, _AUTO):
            return f"deepspeed.{key} may not stand there, because {reason}; remove it"
    return None


def _find_unknown(given: Mapping[str, Any]) -> str | None:
    for key in given:
        if key not in KEYS:
            meant = get_close_matches(key, _TAKEN, 1)
            advice = f"write {meant[0]}" if meant else "remove it"
            return f"deepspeed.{key} is nothing that DeepSpeed knows; {advice}"
    return None


def _find_odd(given: Mapping[str, Any]) -> str | None:
    """Find what the recipe says too, but not as it is said here."""
    for path in _SECTIONS:
        section = _at(given, path)
        if section is not None and not isinstance(section, Mapping):
            return f"deepspeed.{path} is {section!r}; it must be a mapping"
    for path in (*_NUMBERS, _ACCUMULATION):
        value = _at(given, path)
        if value is not None and _number(value) is None:
            return f"deepspeed.{path} is {value!r}; it must be a number, or auto"
    for path, least in _BUFFERS.items():
        value = _at(given, path)
        number = _number(value)
        if value is not None and (number is None or not least <= number < math.inf):
            return f"deepspeed.{path} is {value!r}; it must be a number from {least} on, or auto"
    for path in (_PRECISION, _GATHERED):
        value = _at(given, path)
        if not isinstance(value, bool | None):
            return f"deepspeed.{path} is {value!r}; it must be true or false"
    return None


def _find_other_optimizer(given: Mapping[str, Any]) -> str | None:
    kind, settings = _at(given, "optimizer.type"), _at(given, "optimizer.params") or {}
    if kind is not None and str(kind).lower() != "adamw":
        return f"deepspeed.optimizer.type is {kind!r} and the recipe's optimizer is AdamW; remove deepspeed.optimizer"
    unknown = sorted(set(settings) - set(_ADAM))
    if unknown:
        return f"deepspeed.optimizer.params.{unknown[0]} is not the recipe's to set; there are {', '.join(_ADAM)}"
    betas, epsilon = settings.get("betas", _AUTO), settings.get("eps", _AUTO)
    if betas != _AUTO and not (isinstance(betas, list | tuple) and len(betas) == 2 and None not in map(_number, betas)):
        return f"deepspeed.optimizer.params.betas is {betas!r}; it must be two numbers"
    if epsilon != _AUTO and _number(epsilon) is None:
        return f"deepspeed.optimizer.params.eps is {epsilon!r}; it must be a number"
    return None


def _differences(given: Mapping[str, Any], recipe: Mapping[str, Any]) -> Iterator[str]:
    for field, (path, value) in _said_by(given).items():
        if recipe[field] != value and not (field == "batch_sequences" and recipe["batch_tokens"] is not None):
            both = f"deepspeed.{path} is {_at(given, path)} and training.{field} is {recipe[field]}"
            yield f"{both}; say the same, or only one of them"
    if _at(given, _GATHERED) is False:
        yield f"deepspeed.{_GATHERED} is False and the weights are to be published; remove it"


def _find_other_batch(given: Mapping[str, Any], recipe: Mapping[str, Any], ranks: int) -> str | None:
    """Compare the batch, of which the recipe says the whole and its micro-batches."""
    if recipe["batch_tokens"] is not None:
        said = next((path for path in ("train_batch_size", _ACCUMULATION) if _at(given, path) is not None), None)
        return f"deepspeed.{said} and training.batch_tokens both say the batch; remove one of them" if said else None
    of_a_rank = recipe["batch_sequences"] // ranks
    own = of_a_rank // (recipe["micro_batch_sequences"] or of_a_rank)
    accumulated = _number(_at(given, _ACCUMULATION))
    if accumulated in (None, own):
        return None
    recipes = f"the recipe accumulates {own} (training.batch_sequences {recipe['batch_sequences']}, {ranks} ranks, "
    recipes += f"training.micro_batch_sequences {recipe['micro_batch_sequences'] or of_a_rank})"
    return f"deepspeed.{_ACCUMULATION} is {_at(given, _ACCUMULATION)} and {recipes}; say the same, or remove it"


def _at(given: Mapping[str, Any], path: str) -> Any:
    """Return what stands at a dotted path: None where nothing does, or ``auto``."""
    value: Any = given
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return None if value == _AUTO else value


def _number(value: Any) -> int | float | None:
    """Return a number as YAML gives it, which takes 1e-4 for a text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return value if isinstance(value, int | float) else float(value)
    except ValueError:
        return None
