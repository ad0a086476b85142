"""How an error of Forge ends a Dagster step: the sentence first, whose fault it was, and whether a retry can help."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg
from psycopg2 import OperationalError as DatabaseError
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.exc import OperationalError as SQLAlchemyOperationalError

from forge_assets.settings import step_place
from forge_pipelines.errors import ConfigError, DataError, ForgeError, GateRefusal, PlatformError

GATE_REFUSAL = "gate refusal"
PLATFORM_FAULT = "platform fault"
CONFIGURATION_ERROR = "configuration error"
_UNEXPECTED = "unexpected error"
RETRIES = dg.RetryPolicy(max_retries=3, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""How a step is retried after a platform fault: after about 5, 10 and 20 seconds.

Not as the policy of its op, by which Dagster would retry also what a person interrupts."""

_KINDS: dict[type[ForgeError], str] = {
    ConfigError: CONFIGURATION_ERROR,
    DataError: "data error",
    PlatformError: PLATFORM_FAULT,
    GateRefusal: GATE_REFUSAL,
}


class Stopped(dg.Failure):
    """A step that ended with a sentence. The web UI shows an error's class with its module first, and this without."""

    __module__ = "builtins"


@contextmanager
def named_faults(retry_number: int = 0) -> Iterator[None]:
    """Turn an error into a Dagster failure that names its kind; a platform fault within the executor is retried.

    Outside the executor nothing is retried: somebody waits for the sentence, and the same command goes on from there.
    What no sentence of Forge's is known for is a platform fault where it comes from the operating system, a network or
    a database, and else unexpected: to do it again would end the same.

    Args:
        retry_number: how often the step was retried already.

    Raises:
        Stopped: with the sentence as its description and the kind as metadata ``fault``.
        RetryRequested: because of one that is worth it.
        Failure: as it was raised.
    """
    try:
        yield
    except dg.Failure:
        raise
    except Exception as error:
        kind, sentence = _kind_and_sentence(error)
        stopped = Stopped(description=f"{kind}: {sentence}", metadata={"fault": kind}, allow_retries=False)
        if kind != PLATFORM_FAULT or step_place() is None:
            raise stopped from error
        stopped.__cause__ = error
        wait_seconds = RETRIES.calculate_delay(retry_number + 1)
        raise dg.RetryRequested(RETRIES.max_retries, wait_seconds) from stopped


def _kind_and_sentence(error: Exception) -> tuple[str, str]:
    if isinstance(error, ForgeError):
        return _KINDS[type(error)], str(error)
    platform = isinstance(error, OSError | SQLAlchemyOperationalError | DatabaseError)
    return PLATFORM_FAULT if platform else _UNEXPECTED, f"{type(error).__name__}: {_first_line(str(error))}"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a run or step failed: the kind of the fault, its sentence, and the step (`model/asset`), or an empty one."""

    kind: str
    sentence: str
    step: str = ""


def fault_of_run(step_failures: Sequence[dg.DagsterEvent], run_failure: dg.DagsterEvent) -> Fault:
    """Say why a run failed: because of its first failed step, or of the run itself where no step failed."""
    if not step_failures:
        return Fault("run failure", _first_line(run_failure.message or "the run ended without a word"))
    return fault_of_step(step_failures[0])


def fault_of_step(event: dg.DagsterEvent) -> Fault:
    """Say why a step failed, or is to be retried."""
    step = (event.step_key or "").replace("__", "/")
    told = event.step_failure_data.user_failure_data if event.is_step_failure else None
    error = event.step_failure_data.error if event.is_step_failure else event.step_retry_data.error
    if told is not None and told.description is not None:
        kind = str(told.metadata["fault"].value) if "fault" in told.metadata else "failure"
        return Fault(kind, told.description.removeprefix(f"{kind}: "), step)
    while error is not None and error.cause is not None:
        error = error.cause
    said = _first_line(error.message).removeprefix(f"{Stopped.__name__}: ") if error else "the step gave no reason"
    kind, _, sentence = said.partition(": ")
    return Fault(kind, sentence, step) if kind in _KINDS.values() else Fault(_UNEXPECTED, said, step)


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
