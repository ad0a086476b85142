"""The network before its first step: of a recipe's architecture and seed, or an open model's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig, PreTrainedModel

from forge_pipelines.bases.architecture import check_architecture
from forge_pipelines.errors import ConfigError

NO_NETWORK = (StrictDataclassError, ValueError, TypeError, KeyError, ArithmeticError, RuntimeError)
"""How transformers and torch say that no network comes of an architecture; see `no_network`."""


def build_network(architecture: Mapping[str, Any], tokenizer_folder: Path, seed: int) -> PreTrainedModel:
    """Build an untrained network in fp32 on the CPU, the same one for the same arguments.

    Its attention stays within a packed document only when it is called with ``position_ids``, without an attention
    mask and with ``use_cache=False``.

    Args:
        architecture: a configuration that passes `check_architecture`.
        tokenizer_folder: gives the vocabulary and the special tokens.
        seed: of the weights.

    Raises:
        ConfigError: the architecture is not allowed, or no network can be built from it.
    """  # noqa: DOC501 - `no_network` is the second
    check_architecture(architecture)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder, local_files_only=True)
    tokens = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    torch.manual_seed(seed)
    try:
        config = AutoConfig.for_model(**architecture, **tokens)
        check_heads(config)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    except NO_NETWORK as error:
        raise no_network(error) from error


def no_network(error: Exception) -> ConfigError:
    """Return one of `NO_NETWORK` as the sentence that a person reads."""
    lines = str(error).strip().splitlines() or ["it is empty"]
    return ConfigError(f"training.architecture gives no network: {lines[-1].strip()}")


def load_base(folder: Path) -> PreTrainedModel:
    """Load a base, which was checked when it was brought in, in fp32 on the CPU; see `build_network` for attention."""
    return AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation="sdpa",
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )


def check_heads(config: PreTrainedConfig) -> None:
    """Check that the heads of attention can be grouped as a configuration says.

    Raises:
        ValueError: they cannot.
    """
    # transformers finds this out in the first step, in words about tensors: a family's default may be the culprit.
    heads, groups = config.num_attention_heads, getattr(config, "num_key_value_heads", None)
    if groups and heads % groups:
        raise ValueError(f"num_attention_heads ({heads}) is no multiple of num_key_value_heads ({groups})")
