"""Samples in the order of training, read from the memory-mapped shards a micro-batch at a time."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import Dataset

from forge_pipelines.shards.order import sequences_of
from forge_pipelines.shards.reading import Shards
from forge_pipelines.training.batches import batches_of
from forge_pipelines.training.recipe import Recipe

COLUMNS = ("input_ids", "position_ids", "labels")


class SamplesInOrder(Dataset[dict[str, torch.Tensor]]):
    """Sample *i* of a whole training, as the order function says.

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

    def __getitem__(self, sample: int) -> dict[str, torch.Tensor]:
        return {name: column[0] for name, column in self.__getitems__([sample]).items()}

    def __getitems__(self, samples: Sequence[int]) -> dict[str, torch.Tensor]:
        """Return a micro-batch: three int64 tensors of shape (B, T)."""
        steps, places = np.divmod(np.asarray(samples, dtype=np.int64), self._batch)
        batches = batches_of(steps + 1, self._skipped)
        table = self._rows[sequences_of(self._order, batches * self._batch + places)]
        return {name: self._tensor(table.column(name).combine_chunks()) for name in COLUMNS}

    def _tensor(self, column: pa.FixedSizeListArray) -> torch.Tensor:
        values = column.flatten().to_numpy().astype(np.int64)
        return torch.from_numpy(values.reshape(-1, self._length))


def already_stacked(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Collate nothing: `SamplesInOrder` gives whole micro-batches."""
    return batch
