"""Low-rank adapters: what a recipe adapts of a base, and the base with what an adapter has learned.

PEFT is imported where an adapter is made: other trainings do without it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from forge_pipelines.errors import ConfigError
from forge_pipelines.training.config import LoraConfig

ADAPTER = "adapter"
"""The published folder that holds an adapter, as PEFT writes it."""


def adapter_config(network: PreTrainedModel, lora: LoraConfig) -> Any:
    """Return a recipe's adapter as PEFT's `LoraConfig`.

    Raises:
        ConfigError: the network has no layer of a name that the recipe gives.
    """
    from peft import LoraConfig as PeftLoraConfig

    return PeftLoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=_targets(network, lora),
    )


def linear_layers(network: PreTrainedModel) -> list[str]:
    """Return the names that linear layers have in each block of a network, without the output matrix."""
    return sorted({name for name, _ in _linear(network)})


def adapter_size(network: PreTrainedModel, lora: LoraConfig) -> int:
    """Return how many numbers an adapter of a network has; the network may be on the meta device.

    Raises:
        ConfigError: see `adapter_config`.
    """
    targets = _targets(network, lora)
    widths = (layer.in_features + layer.out_features for name, layer in _linear(network) if name in targets)
    return lora.rank * sum(widths)


def _linear(network: PreTrainedModel) -> Iterator[tuple[str, nn.Linear]]:
    output = network.get_output_embeddings()
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Linear) and layer is not output:
            yield name.rpartition(".")[2], layer


def _targets(network: PreTrainedModel, lora: LoraConfig) -> list[str]:
    layers = linear_layers(network)
    for target in lora.targets:
        if target not in layers:
            message = f"training.lora.targets names {target}, which is no layer that can be adapted"
            raise ConfigError(f"{message}; there are {', '.join(layers)}")
    return sorted(lora.targets or layers)


def with_adapter(network: PreTrainedModel, lora: LoraConfig, seed: int) -> Any:
    """Return a network that stays as it is with an untrained adapter, the same one for the same seed: a `PeftModel`.

    Raises:
        ConfigError: see `adapter_config`.
    """
    from peft import get_peft_model

    config = adapter_config(network, lora)
    torch.manual_seed(seed)
    return get_peft_model(network, config)


def merged(
    base: PreTrainedModel, lora: LoraConfig, learned: Mapping[str, torch.Tensor], folder: Path
) -> PreTrainedModel:
    """Return a base with what an adapter has learned added to its weights, in fp32.

    Args:
        base: the network that was adapted, in fp32.
        lora: what was adapted of it.
        learned: the trained network's weights by name; those of the adapter are read.
        folder: where the adapter is written, as PEFT writes it.
    """
    adapted = with_adapter(base, lora, seed=0)
    names = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    adapted.load_state_dict({name: learned[name] for name in names}, strict=False)
    config = adapted.peft_config["default"]
    # A path of this machine would stand here, and a set in an order that changes from process to process.
    config.base_model_name_or_path, config.target_modules = "", sorted(config.target_modules)
    adapted.save_pretrained(folder)
    (folder / "README.md").unlink()
    network: PreTrainedModel = adapted.merge_and_unload()
    return network
