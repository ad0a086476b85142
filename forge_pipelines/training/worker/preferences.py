"""Direct preference optimization (Rafailov et al., 2023): TRL's trainer on our pairs in our order."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedModel, TrainerCallback

from forge_pipelines.training.job import TrainingJob
from forge_pipelines.training.worker.adapters import adapter_config
from forge_pipelines.training.worker.arguments import arguments_of
from forge_pipelines.training.worker.network import load_base
from forge_pipelines.training.worker.samples import PairsInOrder
from forge_pipelines.training.worker.trainers import RankTrainer


def preference_trainer(
    job: TrainingJob, network: PreTrainedModel, pairs: PairsInOrder, tokenizer_folder: Path, watch: TrainerCallback
) -> RankTrainer:
    """Return what trains on pairs: the better answer is to gain more on the base than the worse one.

    The base is a second network that stays as it is; with an adapter it is the network with the adapter off.

    Raises:
        ConfigError: the network has none of the layers that are to be adapted.
    """
    # TRL takes seconds to import, and no other rank needs it.
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class PreferenceTrainer(RankTrainer, DPOTrainer):
        """TRL's trainer, on pairs that are token ids already."""

        def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
            return dataset

        def create_model_card(self, *_: Any, **__: Any) -> None:
            """Write none: Forge writes its own."""

        def count_labels(self, batches: list[Any], _counted: Any) -> int:
            """Count the tokens of both answers of all pairs: the Trainer knows labels alone."""
            own = torch.stack([count_answers(batch, masked=job.masked) for batch in batches]).sum()
            return int(self.accelerator.gather(own.to(self.args.device)).sum())

    recipe = job.recipe
    # Before the arguments: once they say ZeRO stage 3, a network is loaded in parts.
    reference = load_base(job.base) if recipe.lora is None and job.base is not None else None
    trainer = PreferenceTrainer(
        model=network,
        ref_model=reference,
        args=DPOConfig(
            **arguments_of(job),
            beta=recipe.dpo_beta,
            max_length=None,
            disable_dropout=recipe.lora is None or recipe.lora.dropout == 0,
        ),
        # It takes no other kind of data set, and reads the first row.
        train_dataset=Dataset.from_list([pairs[0]]),
        processing_class=AutoTokenizer.from_pretrained(tokenizer_folder, local_files_only=True),
        callbacks=[watch],
        peft_config=adapter_config(network, recipe.lora) if recipe.lora is not None else None,
    )
    trainer.train_dataset = pairs
    return trainer


def count_answers(batch: Mapping[str, torch.Tensor], *, masked: bool) -> torch.Tensor:
    """Return how many tokens both answers of all pairs have.

    Args:
        batch: as TRL collates it: ``input_ids`` and ``completion_mask``, both of shape (2·B, T), the better ones first.
        masked: leave out pairs of equal answers, which is what masked ones are.
    """
    tokens = batch["completion_mask"][:, 1:].sum(dim=1)
    if masked:
        better, worse = batch["input_ids"].chunk(2)
        tokens = tokens * (better != worse).any(dim=1).repeat(2)
    return tokens.sum()
