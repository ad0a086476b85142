"""Samples in the order of training, read from the memory-mapped shards a micro-batch at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch.utils.data import Dataset

from forge_pipelines.errors import ConfigError
from forge_pipelines.shards.order import sequences_of
from forge_pipelines.shards.reading import Shards
from forge_pipelines.training.batches import batches_of
from forge_pipelines.training.recipe import Recipe

COLUMNS = ("input_ids", "position_ids", "labels")
PAIR_COLUMNS = ("prompt_ids", "chosen_ids", "rejected_ids")


class _InOrder(Dataset[dict[str, Any]]):
    """Rows of the shards: sample *i* of a whole training, as the order function says.

    A loader without shuffling makes each step of a global batch *B* read the batch that `batches` says.

    Args:
        recipe: its seed, steps and batch.
        skipped: the batches that no step consumes.
    """

    def __init__(self, shards: Shards, recipe: Recipe, skipped: Sequence[int] = ()) -> None:
        self._rows = shards.sequences.with_format("arrow")
        self._length = shards.sequence_length
        self._order = shards.order(recipe.seed)
        self._batch = recipe.batch_sequences
        self._num_samples = recipe.steps * self._batch
        self._skipped = skipped

    def __len__(self) -> int:
        return self._num_samples

    def read(self, samples: Sequence[int]) -> pa.Table:
        """Return the rows of some samples."""
        steps, places = np.divmod(np.asarray(samples, dtype=np.int64), self._batch)
        batches = batches_of(steps + 1, self._skipped)
        return self._rows[sequences_of(self._order, batches * self._batch + places)]


class SamplesInOrder(_InOrder):
    """Packed sequences, see `_InOrder`."""

    @property
    def tokens_each(self) -> float:
        """Tokens a sample, padding included."""
        return self._length

    def __getitem__(self, sample: int) -> dict[str, torch.Tensor]:
        return {name: column[0] for name, column in self.__getitems__([sample]).items()}

    def __getitems__(self, samples: Sequence[int]) -> dict[str, torch.Tensor]:
        """Return a micro-batch: three int64 tensors of shape (B, T)."""
        table = self.read(samples)
        return {name: self._tensor(table.column(name).combine_chunks()) for name in COLUMNS}

    def _tensor(self, column: pa.FixedSizeListArray) -> torch.Tensor:
        values = column.flatten().to_numpy().astype(np.int64)
        return torch.from_numpy(values.reshape(-1, self._length))


class PairsInOrder(_InOrder):
    """Pairs of a better and a worse answer to a prompt, see `_InOrder`; each is as long as it is."""

    @property
    def tokens_each(self) -> float:
        """Tokens a pair, in the mean over all: the prompt is read with each answer."""
        columns = ("prompt_ids", *PAIR_COLUMNS)
        lengths = (pc.sum(pc.list_value_length(self._rows.data.column(name))).as_py() for name in columns)
        return sum(lengths) / len(self._rows)

    def __getitem__(self, sample: int) -> dict[str, list[int]]:
        return self.__getitems__([sample])[0]

    def __getitems__(self, samples: Sequence[int]) -> list[dict[str, list[int]]]:
        """Return a micro-batch of pairs."""
        rows: list[dict[str, list[int]]] = self.read(samples).select(PAIR_COLUMNS).to_pylist()
        return rows


def check_shards(shards: Shards, recipe: Recipe, window: int) -> None:
    """Check that a recipe can learn from some shards.

    Args:
        window: tokens that the network sees at once.

    Raises:
        ConfigError: they hold other examples than its objective learns from, or longer ones than the network sees.
    """
    if shards.sequence_length > window:
        message = f"sequences of {shards.sequence_length} tokens are longer than the network sees at once"
        raise ConfigError(f"{message} (max_position_embeddings is {window}); lower shards.sequence_length")
    if shards.examples != recipe.examples:
        message = f"training.objective is {recipe.objective}, which learns from {recipe.examples}, and the shards hold"
        raise ConfigError(f"{message} {shards.examples}; change the objective, or the corpora")


def already_stacked(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Collate nothing: `SamplesInOrder` gives whole micro-batches."""
    return batch
