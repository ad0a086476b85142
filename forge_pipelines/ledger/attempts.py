"""Every attempt at a step: who ran it, how it ended, and what it took: seconds of walls, CPUs and GPUs, and energy."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from typing import Any, Literal

from psycopg2.extras import RealDictCursor

from forge_pipelines.ledger.postgres import connect, patiently
from forge_pipelines.manifest import Value

_PATIENCE_SECONDS = 90.0

Outcome = Literal["running", "succeeded", "failed", "cancelled", "lost"]


class AttemptKey(Value):
    """An attempt of a step of a run; the first is 1."""

    run: str
    step: str
    attempt: int = 1


class AttemptEnd(Value):
    """How an attempt ended.

    Attributes:
        outcome: ``lost`` where its processes were gone without a word.
        reason: why it failed, in a sentence.
        devices: the GPUs that it held.
        wall_seconds: while it worked; its wait for GPUs is left out.
        cpu_seconds: of all its processes.
        gpu_seconds: devices times seconds held.
        energy_joules: drawn by the devices meanwhile; None where nobody counts it.
    """

    outcome: Outcome
    reason: str | None = None
    devices: tuple[str, ...] = ()
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    energy_joules: float | None = None


class Attempt(Value):
    """What stands in the ledger of one attempt."""

    run: str
    step: str
    attempt: int
    model: str
    host: str
    started_at: datetime
    ended_at: datetime | None
    outcome: Outcome
    reason: str | None
    gpus: int
    devices: tuple[str, ...]
    wall_seconds: float | None
    cpu_seconds: float | None
    gpu_seconds: float | None
    energy_joules: float | None


class Attempts:
    """The table of attempts, at an address of the database `forge`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def begin(self, key: AttemptKey, model: str, host: str, gpus: int) -> None:
        """Write that an attempt begins; one that stands there already is left as it is.

        Raises:
            PlatformError: the database cannot be reached.
        """
        self._execute(
            "INSERT INTO attempts (run, step, attempt, model, host, gpus) VALUES (%s, %s, %s, %s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            (key.run, key.step, key.attempt, model, host, gpus),
        )

    def end(self, key: AttemptKey, end: AttemptEnd) -> None:
        """Write how an attempt ended; what has ended once stays as it is.

        Raises:
            PlatformError: the database cannot be reached.
        """
        self._execute(
            "UPDATE attempts SET ended_at = now(), outcome = %s, reason = %s, devices = %s, wall_seconds = %s, "
            "cpu_seconds = %s, gpu_seconds = %s, energy_joules = %s "
            "WHERE run = %s AND step = %s AND attempt = %s AND ended_at IS NULL",
            (
                *(end.outcome, end.reason, list(end.devices), end.wall_seconds, end.cpu_seconds, end.gpu_seconds),
                *(end.energy_joules, key.run, key.step, key.attempt),
            ),
        )

    def lose(self, run: str) -> None:
        """Write that the unfinished attempts of a run were lost, and that they took no longer than until now.

        Raises:
            PlatformError: the database cannot be reached.
        """
        self._execute(
            "UPDATE attempts SET ended_at = now(), outcome = 'lost', "
            "wall_seconds = extract(epoch FROM now() - started_at), "
            "gpu_seconds = gpus * extract(epoch FROM now() - started_at) WHERE run = %s AND ended_at IS NULL",
            (run,),
        )

    def of(self, model: str) -> Iterator[Attempt]:
        """Yield the attempts that were made for a model, a corpus or a source, in order of time.

        Raises:
            PlatformError: the database cannot be reached.
        """
        with closing(connect(self._url)) as session, session.cursor(cursor_factory=RealDictCursor) as cursor:
            cursor.execute("SELECT * FROM attempts WHERE model = %s ORDER BY started_at, step", (model,))
            rows: list[dict[str, Any]] = cursor.fetchall()
        yield from (Attempt.model_validate(row) for row in rows)

    def _execute(self, statement: str, values: tuple[Any, ...]) -> None:
        def write() -> None:
            with closing(connect(self._url, _PATIENCE_SECONDS)) as session, session.cursor() as cursor:
                cursor.execute(statement, values)

        patiently(write, _PATIENCE_SECONDS)  # to write the same twice does no harm
