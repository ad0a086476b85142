"""How an error of Forge ends a Dagster step: the sentence first, whose fault it was, and whether a retry can help."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from forge_pipelines.errors import ConfigError, DataError, ForgeError, GateRefusal, PlatformError

_KINDS: dict[type[ForgeError], str] = {
    ConfigError: "configuration error",
    DataError: "data error",
    PlatformError: "platform fault",
    GateRefusal: "gate refusal",
}


@contextmanager
def named_faults() -> Iterator[None]:
    """Turn an error of Forge into a Dagster failure that names its kind; only platform faults may be retried.

    Raises:
        Failure: with the sentence as its description and the kind as metadata ``fault``.
    """
    try:
        yield
    except ForgeError as error:
        kind = _KINDS[type(error)]
        raise dg.Failure(
            description=f"{kind}: {error}",
            metadata={"fault": kind},
            allow_retries=isinstance(error, PlatformError),
        ) from error


def sentence_of(error: BaseException) -> str:
    """Return what a person should read of an error: the innermost sentence of Forge's own, else its own message."""
    found = str(error)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ForgeError):
            found = str(cause)
        cause = cause.__cause__ or cause.__context__
    return found
