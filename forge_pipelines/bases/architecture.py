"""Which networks are allowed: families whose attention stays within a packed document, by keys known here.

An allow-list, because a transformers configuration can name code to be run (`auto_map`, kernels, other attention). A
recipe describes a network by these keys; the ``config.json`` of an open model is reduced to them.
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
_WITHOUT_EFFECT = frozenset(
    {
        "_attn_implementation_autoset",
        "_name_or_path",
        "_model_name_or_path",
        "architectures",
        "classifier_dropout",
        "dtype",
        "is_decoder",
        "is_llama_config",
        "pretraining_tp",
        "rope_interleaved",
        "torch_dtype",
        "transformers_version",
        "transformers.js_config",
        "unk_token_id",
        "use_cache",
        "use_mrope",
    }
)
_CLASSES: Mapping[str, str] = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "gpt_neox": "GPTNeoXForCausalLM",
}
"""What a file's ``architectures`` calls each family: a Llama's weights have the names of a Mistral's, too."""
_ROPE_IN_FILES = frozenset({"rope_theta", "rope_scaling", "partial_rotary_factor", "rotary_pct", "rotary_emb_base"})
"""How older files say what ``rope_parameters`` says; transformers reads both."""

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


def reduce_configuration(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what builds the network out of a file's configuration: the allowed keys and the special tokens.

    Raises:
        ValueError: the configuration asks for anything else, such as code of its own, or says that the weights are
            of another architecture than the network; the message names the key.
    """
    tokens = {key: configuration[key] for key in _FROM_TOKENIZER & set(configuration)}
    older = {key: configuration[key] for key in _ROPE_IN_FILES & set(configuration)}
    described = {
        key: value
        for key, value in configuration.items()
        if key not in _WITHOUT_EFFECT | _ROPE_IN_FILES | set(tokens) and value is not None
    }
    fault = find_fault(described) or _find_odd_rope(older) or _find_other_class(configuration)
    if fault:
        raise ValueError(fault.replace("architecture.", "", 1))
    return {**described, **older, **tokens}


def _find_other_class(configuration: Mapping[str, Any]) -> str | None:
    named, family = configuration.get("architectures"), configuration["model_type"]
    if named is None or named == [_CLASSES[family]]:
        return None
    return f"architectures is {named!r} and model_type is {family!r}, whose language model is {_CLASSES[family]}"


def _find_odd_rope(older: Mapping[str, Any]) -> str | None:
    scaling = older.get("rope_scaling") or {}
    if not isinstance(scaling, Mapping) or set(scaling) - _ROPE - {"type"}:
        return f"rope_scaling is {scaling!r}; it must be a mapping of {', '.join(sorted(_ROPE))}"
    odd = [key for key, value in older.items() if key != "rope_scaling" and not isinstance(value, int | float)]
    return f"{odd[0]} must be a number" if odd else None


def _find_odd_value(architecture: Mapping[str, Any]) -> str | None:
    for key, value in architecture.items():
        if key == "rope_parameters":
            if not isinstance(value, Mapping) or set(value) - _ROPE:
                return f"architecture.rope_parameters must be a mapping of {', '.join(sorted(_ROPE))}"
        elif not isinstance(value, bool | int | float | str | list | tuple | None):
            return f"architecture.{key} is {value!r}; it must be a number, a text, true, false or a list"
    return None
