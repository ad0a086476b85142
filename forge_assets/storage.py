"""Dagster's storage: its own PostgreSQL storages, on the server that Forge uses, which it starts where none runs.

`dagster.yaml` names it, so that `dg dev`, `dg launch` and every other command of Dagster's work as they are. A server
that goes away is waited for, and what a run has to say is said when it is back: Dagster's own patience is six seconds,
after which it goes on without the event.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import dagster as dg
import psycopg2
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log import SqlEventLogStorageTable
from dagster._serdes import ConfigurableClass, ConfigurableClassData, serialize_value
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage
from sqlalchemy import Connection, Engine, event, select
from sqlalchemy.exc import DBAPIError, DisconnectionError

from forge_assets.settings import load_settings, step_place
from forge_pipelines.ledger.postgres import connect, patiently, postgres

PATIENCE_SECONDS = 90.0
_WEBSERVER_PATIENCE_SECONDS = 5.0
_CONNECT_SECONDS = 5
_FIRST_TABLES = ["runs", "instance_info", "event_logs", "jobs"]
"""Those by which Dagster's storages tell whether theirs are there."""

T = TypeVar("T")


class ForgeStorage(DagsterStorage, ConfigurableClass):
    """Runs, events and schedules in the database `dagster` of FORGE_POSTGRES_URL, or of the embedded server.

    A server that is not there when this is opened is waited for by a step alone, whose run has had it before.

    Raises:
        ConfigError: FORGE_POSTGRES_URL is no address.
        PlatformError: the server cannot be reached, or does not start.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        settings, self._server, self._inst_data = load_settings(), ExitStack(), inst_data
        patience = PATIENCE_SECONDS if step_place() is not None else 0.0
        databases = self._server.enter_context(postgres(settings.home, settings.postgres_url, patience))
        make_tables = not _has_tables(databases.dagster)
        self._runs = PatientRuns(databases.dagster, make_tables)
        self._events = PatientEvents(databases.dagster, make_tables)
        self._schedules = PatientSchedules(databases.dagster, make_tables)
        # Dagster keeps the three storages and forgets this object: whoever has one of them uses the server.
        for storage in (self._runs, self._events, self._schedules):
            vars(storage)["forge_server"] = self._server
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """Return how `dagster.yaml` named this."""
        return self._inst_data

    @property
    def run_storage(self) -> "PatientRuns":
        """Return the runs."""
        return self._runs

    @property
    def event_log_storage(self) -> "PatientEvents":
        """Return the events."""
        return self._events

    @property
    def schedule_storage(self) -> "PatientSchedules":
        """Return the schedules and sensors."""
        return self._schedules

    @classmethod
    def config_type(cls) -> Any:
        """Take no configuration: the environment says where the server is."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "ForgeStorage":
        """Open the storage."""
        return cls(inst_data, **config_value)

    def dispose(self) -> None:
        """Close the connections, and stop using the server."""
        for storage in (self._runs, self._events, self._schedules):
            storage.dispose()
        self._server.close()


class _Patient:
    """What the three storages share: they wait for a server that is away; the web server's, not for long."""

    _engine: Engine

    def __init__(self, url: str, make_tables: bool) -> None:
        super().__init__(url, make_tables)  # type: ignore[call-arg]  # Dagster's storage comes next
        self._wait_up_to(PATIENCE_SECONDS)

    def connect(self, run_id: str | None = None) -> Connection:  # noqa: ARG002 - Dagster's schedules have it
        """Open a connection, a context, as soon as the server lets it."""
        return self._engine.connect()

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        """Hold a connection open, as long as it lives, and make nobody who looks at a page wait for long."""
        super().optimize_for_webserver(statement_timeout, pool_recycle, max_overflow)  # type: ignore[misc]
        event.listen(self._engine, "checkout", partial(_require_alive, self._engine.dialect))
        self._wait_up_to(_WEBSERVER_PATIENCE_SECONDS)

    def _wait_up_to(self, patience_seconds: float) -> None:
        event.listen(self._engine, "do_connect", partial(_open, patience_seconds))


class PatientRuns(_Patient, PostgresRunStorage):
    """Dagster's runs."""

    def handle_run_event(self, run_id: str, event: dg.DagsterEvent, update_timestamp: datetime | None = None) -> None:
        """Write what an event makes of its run, again where the server goes away meanwhile."""
        _surely(lambda: PostgresRunStorage.handle_run_event(self, run_id, event, update_timestamp))


class PatientSchedules(_Patient, PostgresScheduleStorage):
    """Dagster's schedules and sensors."""


class PatientEvents(_Patient, PostgresEventLogStorage):
    """Dagster's event log."""

    def _connect(self) -> Connection:
        return self.connect()

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Write an event, again where the server goes away meanwhile.

        An asset's event may then stand there twice, for more than one table is to hold it. Any other stands there
        once: a step's second success would fail its run.
        """
        tried = False

        def store() -> None:
            nonlocal tried
            before, tried = tried, True
            if not (before and self._stands(event)):
                PostgresEventLogStorage.store_event(self, event)

        _surely(store)

    def _stands(self, event: dg.EventLogEntry) -> bool:
        if event.dagster_event_type in ASSET_EVENTS | ASSET_CHECK_EVENTS:
            return False
        table = SqlEventLogStorageTable.c
        query = select(table.id).where(table.run_id == event.run_id, table.event == serialize_value(event))
        with self.connect() as connection:
            return connection.execute(query).first() is not None


def _has_tables(url: str) -> bool:
    """Ask once whether the three storages have their tables; each would list all tables at each opening."""
    with closing(connect(url)) as session, session.cursor() as cursor:
        cursor.execute("SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest(%s) AS name", (_FIRST_TABLES,))
        (found,) = cursor.fetchone()
    return bool(found)


def _open(patience_seconds: float, dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
    """Be SQLAlchemy's `do_connect`: connect as soon as the server lets it."""
    options = {"connect_timeout": _CONNECT_SECONDS, **options}
    return patiently(lambda: dialect.connect(*arguments, **options), patience_seconds)


def _require_alive(dialect: Any, held: Any, _record: Any, _proxy: Any) -> None:
    """Be SQLAlchemy's `checkout`: a connection that has broken since its last use is opened anew.

    Raises:
        DisconnectionError: to SQLAlchemy, which does so.
    """
    try:
        dialect.do_ping(held)
    except psycopg2.Error as error:
        raise DisconnectionError from error


def _surely(write: Callable[[], T]) -> T:
    """Write again where the connection broke before the server had answered."""
    return patiently(write, PATIENCE_SECONDS, is_away=_broke)


def _broke(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and error.connection_invalidated
