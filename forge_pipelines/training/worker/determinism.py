"""Sums in one order: else gradients differ a little from run to run, and so does all that follows.

On GPUs those of attention do, and compiled on a CPU those of the embedding; what is not compiled adds up in one order
on a CPU anyway. See PyTorch's notes on reproducibility. On GPUs ``CUBLAS_WORKSPACE_CONFIG`` must stand in the
environment, too.
"""

import re

import torch

_NO_ORDER = re.compile(r"(\S+) does not have a deterministic implementation")


def add_in_one_order() -> None:
    """Let torch take only operations that add up in one order; it raises a RuntimeError at one that has none."""
    torch.use_deterministic_algorithms(True)
    # It would also fill all memory that is about to be written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def operation_without_order(error: BaseException) -> str | None:
    """Return the operation that ended a training because it has no order; None for any other error."""
    found = _NO_ORDER.search(str(error))
    return found[1] if found else None
