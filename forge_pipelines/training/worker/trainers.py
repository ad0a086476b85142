"""transformers' Trainer, as a rank of ours uses it."""

from collections.abc import Iterator
from typing import Any

import torch
from transformers import Trainer


class RankTrainer(Trainer):
    """transformers' Trainer, which counts the tokens it trains on and saves the weights once a checkpoint."""

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Do nothing: DeepSpeed's part of a checkpoint holds the weights already."""

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:  # noqa: ARG002 - the Trainer's signature
        """Count nothing: walking through all parameters at every step takes time."""
        return 0

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """Take a step's micro-batches; count its labels, of all ranks, in the state that checkpoints keep."""
        batches, num_labels = super().get_batch_samples(epoch_iterator, num_batches, device)
        self.state.num_input_tokens_seen += int(num_labels)
        return batches, num_labels
