"""transformers' Trainer, as a rank of ours uses it."""

from collections.abc import Iterator
from typing import Any

import torch
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from forge_pipelines.training.job import TrainingJob
from forge_pipelines.training.worker.adapters import with_adapter
from forge_pipelines.training.worker.arguments import arguments_of
from forge_pipelines.training.worker.samples import SamplesInOrder, already_stacked


class RankTrainer(Trainer):
    """transformers' Trainer, which counts the tokens it learns from and saves the weights once a checkpoint."""

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
        self.state.num_input_tokens_seen += self.count_labels(batches, num_labels)
        # A step whose documents are all masked learns nothing; its loss must not be 0 / 0.
        return batches, None if num_labels is None else num_labels.clamp(min=1)

    def count_labels(self, batches: list[Any], counted: Any) -> int:  # noqa: ARG002 - for those that must count
        """Return the labels of a step, of all ranks: here what the Trainer has counted."""
        return int(counted)


def sequence_trainer(
    job: TrainingJob, network: PreTrainedModel, samples: SamplesInOrder, watch: TrainerCallback
) -> RankTrainer:
    """Return what trains on packed sequences, by the cross-entropy of their labels.

    Raises:
        ConfigError: the network has none of the layers that are to be adapted.
    """
    recipe = job.recipe
    return RankTrainer(
        model=network if recipe.lora is None else with_adapter(network, recipe.lora, recipe.seed),
        args=TrainingArguments(**arguments_of(job)),
        train_dataset=samples,
        data_collator=already_stacked,
        callbacks=[watch],
    )
