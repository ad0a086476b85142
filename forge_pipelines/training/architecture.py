"""Which networks a recipe may describe: families whose attention stays within a packed document, by keys known here.

An allow-list, because a transformers configuration can name code to be run (`auto_map`, kernels, other attention).
"""

from collections.abc import Mapping
from typing import Any

from forge_pipelines.errors import ConfigError

_EVERY_FAMILY = frozenset(
    {
        "model_type",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "hidden_act",
        "max_position_embeddings",
        "initializer_range",
        "tie_word_embeddings",
        "attention_dropout",
        "rope_parameters",
    }
)
_GROUPED_QUERIES = frozenset({"num_key_value_heads", "head_dim", "rms_norm_eps"})
_QWEN = frozenset({"use_sliding_window", "sliding_window", "max_window_layers", "layer_types"})
_FAMILIES: Mapping[str, frozenset[str]] = {
    "llama": _GROUPED_QUERIES | {"attention_bias", "mlp_bias"},
    "mistral": _GROUPED_QUERIES | {"sliding_window"},
    "qwen2": (_GROUPED_QUERIES - {"head_dim"}) | _QWEN,
    "qwen3": _GROUPED_QUERIES | _QWEN | {"attention_bias"},
    "olmo2": (_GROUPED_QUERIES - {"head_dim"}) | {"attention_bias"},
    "mixtral": _GROUPED_QUERIES
    | {
        "sliding_window",
        "num_local_experts",
        "num_experts_per_tok",
        "output_router_logits",
        "router_aux_loss_coef",
        "router_jitter_noise",
    },
    "gpt_neox": frozenset({"hidden_dropout", "layer_norm_eps", "use_parallel_residual", "attention_bias"}),
}
_ROPE = frozenset(
    {
        "rope_type",
        "rope_theta",
        "factor",
        "partial_rotary_factor",
        "original_max_position_embeddings",
        "attention_factor",
        "beta_fast",
        "beta_slow",
        "short_factor",
        "long_factor",
        "low_freq_factor",
        "high_freq_factor",
    }
)
_FROM_TOKENIZER = frozenset({"vocab_size", "bos_token_id", "eos_token_id", "pad_token_id"})

FAMILIES = tuple(_FAMILIES)
"""The values that ``model_type`` may have."""


def check_architecture(architecture: Mapping[str, Any]) -> None:
    """Refuse a configuration that is not made of known keys and plain values.

    Raises:
        ConfigError: names the key, and what may stand there.
    """
    fault = find_fault(architecture)
    if fault:
        raise ConfigError(fault)


def find_fault(architecture: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a configuration in one sentence, or None."""
    family = architecture.get("model_type")
    if not isinstance(family, str) or family not in _FAMILIES:
        return f"architecture.model_type is {family!r}; it must be one of {', '.join(FAMILIES)}"
    given = _FROM_TOKENIZER & set(architecture)
    if given:
        return f"architecture.{min(given)} comes from the tokenizer; remove it"
    allowed = _EVERY_FAMILY | _FAMILIES[family]
    unknown = sorted(set(architecture) - allowed)
    if unknown:
        return f"architecture.{unknown[0]} is not allowed for {family}; allowed are {', '.join(sorted(allowed))}"
    return _find_odd_value(architecture)


def _find_odd_value(architecture: Mapping[str, Any]) -> str | None:
    for key, value in architecture.items():
        if key == "rope_parameters":
            if not isinstance(value, Mapping) or set(value) - _ROPE:
                return f"architecture.rope_parameters must be a mapping of {', '.join(sorted(_ROPE))}"
        elif not isinstance(value, bool | int | float | str | list | tuple | None):
            return f"architecture.{key} is {value!r}; it must be a number, a text, true, false or a list"
    return None
