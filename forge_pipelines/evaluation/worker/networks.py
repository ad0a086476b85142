"""Loads what is measured (checkpoint, tokenizer, base): local files, safetensors, fp32, no foreign code."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from forge_pipelines.errors import DataError

_LOCAL = {"local_files_only": True, "trust_remote_code": False}


def load_tokenizer(folder: Path) -> Any:
    """Return the checkpoint's tokenizer.

    Raises:
        DataError: it has no token for the beginning of a document.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, **_LOCAL)
    if tokenizer.bos_token_id is None:
        raise DataError(f"the tokenizer in {folder} has no bos_token, so a document's first token cannot be scored")
    return tokenizer


def load_checkpoint(folder: Path, device: str) -> PreTrainedModel:
    """Return the trained network, ready to be scored.

    Raises:
        DataError: a weight of the architecture is not in the file, or has another shape.
    """
    network, found = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **_LOCAL,
    )
    # transformers fills what is missing with random numbers and only warns.
    lacking = sorted(found["missing_keys"]) + sorted(key for key, *_ in found["mismatched_keys"])
    if lacking:
        raise DataError(
            f"model.safetensors in {folder} lacks weights that config.json calls for: {', '.join(lacking[:3])}"
        )
    return _ready(network, device)


def build_untrained(folder: Path, seed: int, device: str) -> PreTrainedModel:
    """Return the network that the checkpoint's configuration and a seed give before any training.

    It is made on the CPU whatever the device, so that a seed means the same network everywhere.
    """
    config = AutoConfig.from_pretrained(folder, **_LOCAL)
    torch.manual_seed(seed)
    network = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
    return _ready(network, device)


def context_tokens(tokenizer: Any, network: PreTrainedModel) -> int:
    """Return how many tokens the network sees at once: as many as it was trained on, and never more than it can."""
    return int(min(tokenizer.model_max_length, network.config.max_position_embeddings))


def _ready(network: PreTrainedModel, device: str) -> PreTrainedModel:
    # With a cache (the default), transformers no longer sees from the positions where a document begins.
    network.config.use_cache = False
    network.eval()
    return network.to(device)
