"""How an error of Forge ends a Dagster step: the sentence first, whose fault it was, and whether a retry can help."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from forge_pipelines.errors import ConfigError, DataError, ForgeError, GateRefusal, PlatformError

GATE_REFUSAL = "gate refusal"

_KINDS: dict[type[ForgeError], str] = {
    ConfigError: "configuration error",
    DataError: "data error",
    PlatformError: "platform fault",
    GateRefusal: GATE_REFUSAL,
}


class Stopped(dg.Failure):
    """A step that ended with a sentence. The web UI shows an error's class with its module first, and this without."""

    __module__ = "builtins"


@contextmanager
def named_faults() -> Iterator[None]:
    """Turn an error of Forge into a Dagster failure that names its kind; only platform faults may be retried.

    Raises:
        Stopped: with the sentence as its description and the kind as metadata ``fault``.
    """
    try:
        yield
    except ForgeError as error:
        kind = _KINDS[type(error)]
        raise Stopped(
            description=f"{kind}: {error}",
            metadata={"fault": kind},
            allow_retries=isinstance(error, PlatformError),
        ) from error


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a run failed: the kind of the fault, its sentence, and the step (`model/asset`), or an empty one."""

    kind: str
    sentence: str
    step: str = ""


def fault_of_run(step_failures: Sequence[dg.DagsterEvent], run_failure: dg.DagsterEvent) -> Fault:
    """Say why a run failed: because of its first failed step, or of the run itself where no step failed."""
    if not step_failures:
        return Fault("run failure", _first_line(run_failure.message or "the run ended without a word"))
    first = step_failures[0]
    step, data = (first.step_key or "").replace("__", "/"), first.step_failure_data
    told, error = data.user_failure_data, data.error
    if told is not None and told.description is not None:
        kind = str(told.metadata["fault"].value) if "fault" in told.metadata else "failure"
        return Fault(kind, told.description.removeprefix(f"{kind}: "), step)
    while error is not None and error.cause is not None:
        error = error.cause
    return Fault("unexpected error", _first_line(error.message) if error else "the step gave no reason", step)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


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
