"""Which batch of samples a step consumes. Nothing here imports torch.

Batch *b* is the samples [*b*·B, (*b*+1)·B) of the order. Step *s*, from 1 on, consumes batch *s* − 1, or, where batches
were skipped, the (*s* − 1)-th of the others: a batch that is skipped shifts those after it by one.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def batches_of(steps: NDArray[np.int64], skipped: Iterable[int]) -> NDArray[np.int64]:
    """Return the batch that each step consumes.

    Args:
        steps: from 1 on, shape (n,).
        skipped: the batches that no step consumes.

    Returns:
        Batches, from 0 on, shape (n,).
    """
    batches = np.asarray(steps, np.int64) - 1
    for each in sorted(skipped):
        batches = batches + (batches >= each)
    return batches


def batch_of(step: int, skipped: Iterable[int]) -> int:
    """Return the batch that one step consumes; see `batches_of`."""
    return int(batches_of(np.array([step]), skipped)[0])
