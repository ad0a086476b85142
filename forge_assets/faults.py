"""How an error of Forge ends a Dagster step: the sentence first, whose fault it was, and whether a retry can help."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from pydantic import ValidationError
from pydantic_core import ErrorDetails

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
    """Return what a person should read of an error that others wrapped.

    Forge's own sentence if there is one; else which field of which YAML file, at which line, is wrong; else the
    innermost error as it is.
    """
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    for found in chain:
        if isinstance(found, ForgeError):
            return str(found)
        if isinstance(found, ValidationError):
            return "; ".join(_where_and_what(fault) for fault in found.errors())
    return f"{type(chain[-1]).__name__}: {chain[-1]}"


def _where_and_what(fault: ErrorDetails) -> str:
    where = ".".join(str(part) for part in fault["loc"]).strip("`")
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}"
