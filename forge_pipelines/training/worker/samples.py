"""Samples in the order of training, read from the memory-mapped shards a micro-batch at a time."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import Dataset

from forge_pipelines.shards.order import sequences_of
from forge_pipelines.shards.reading import Shards

COLUMNS = ("input_ids", "position_ids", "labels")


class SamplesInOrder(Dataset[dict[str, torch.Tensor]]):
    """Sample *i* of a whole training, as the order function says.

    A loader without shuffling makes step *s* of a global batch *B* read the samples [*s*·B, (*s*+1)·B).

    Args:
        seed: the recipe's, which the order depends on.
        num_samples: samples of the whole training, steps × B.
    """

    def __init__(self, shards: Shards, seed: int, num_samples: int) -> None:
        self._rows = shards.sequences.with_format("arrow")
        self._length = shards.sequence_length
        self._order = shards.order(seed)
        self._num_samples = num_samples

    def __len__(self) -> int:
        return self._num_samples

    def __getitem__(self, sample: int) -> dict[str, torch.Tensor]:
        return {name: column[0] for name, column in self.__getitems__([sample]).items()}

    def __getitems__(self, samples: Sequence[int]) -> dict[str, torch.Tensor]:
        """Return a micro-batch: three int64 tensors of shape (B, T)."""
        table = self._rows[sequences_of(self._order, np.asarray(samples, dtype=np.int64))]
        return {name: self._tensor(table.column(name).combine_chunks()) for name in COLUMNS}

    def _tensor(self, column: pa.FixedSizeListArray) -> torch.Tensor:
        values = column.flatten().to_numpy().astype(np.int64)
        return torch.from_numpy(values.reshape(-1, self._length))


def already_stacked(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Collate nothing: `SamplesInOrder` gives whole micro-batches."""
    return batch
