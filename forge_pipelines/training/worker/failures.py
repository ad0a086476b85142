"""What a library's error means, in the sentence that a person reads: what is full, or what of the recipe to change."""

import shutil
from collections.abc import Iterator

import torch
from torch._dynamo.exc import TorchDynamoException

from forge_pipelines.errors import ConfigError, ForgeError, PlatformError
from forge_pipelines.staging import FULL, FULL_DISK_BYTES
from forge_pipelines.training.job import TrainingJob
from forge_pipelines.training.memory import remedy
from forge_pipelines.training.worker.determinism import operation_without_order

_NO_MEMORY = (
    "can't allocate memory",
    "Cannot allocate memory",
    "can't start new thread",
    "std::bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
)
_NO_SPACE = ("No space left on device", "Disk quota exceeded")
_NOT_WRITTEN = ("PytorchStreamWriter failed", "file write failed")


def named(error: Exception, job: TrainingJob) -> ForgeError | None:
    """Return an error that says what a rank ended by and what to do; None where only the log can."""
    chain = list(_chain(error))
    if any(map(_is_out_of_memory, chain)):
        whose = "the GPU's" if any(isinstance(each, torch.OutOfMemoryError) for each in chain) else "the machine's"
        return PlatformError(f"{whose} memory ran out; {remedy(job.recipe)}")
    if any(_is_full_disk(each, job) for each in chain):
        where = min((job.checkpoints.parent, job.output), key=lambda folder: shutil.disk_usage(folder).free)
        advice = "the last checkpoint is whole, free some space and run the same command again"
        return PlatformError(f"the disk that holds {where} is full; {advice}")
    if operation := next(filter(None, map(operation_without_order, chain)), None):
        return ConfigError(
            f"this network computes {operation}, which torch adds up in no fixed order; "
            "set training.deterministic: false, and a resumed training is no longer bit by bit the same"
        )
    if failed := next((each for each in chain if isinstance(each, TorchDynamoException)), None):
        lines = str(getattr(failed, "inner_exception", failed)).strip().splitlines() or [type(failed).__name__]
        return ConfigError(f"torch.compile does not take this network ({lines[0]}); set training.compile: false")
    return error if isinstance(error, ForgeError) else None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or _says(error, _NO_MEMORY)


def _is_full_disk(error: BaseException, job: TrainingJob) -> bool:
    if (isinstance(error, OSError) and error.errno in FULL) or _says(error, _NO_SPACE):
        return True
    # torch.save says that it failed, and not why.
    return _says(error, _NOT_WRITTEN) and shutil.disk_usage(job.checkpoints.parent).free < FULL_DISK_BYTES


def _says(error: BaseException, words: tuple[str, ...]) -> bool:
    return any(each in str(error) for each in words)
