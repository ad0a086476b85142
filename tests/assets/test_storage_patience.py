"""A PostgreSQL that goes away is waited for, and what was to be written is written, once."""

import threading
import time
from collections import Counter
from contextlib import closing
from itertools import cycle
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import ASSET_EVENTS
from embedded_server import server_away
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from forge_assets.instance import dagster_instance, forge_environment
from forge_assets.settings import STEP_VARIABLE, Settings, exported
from forge_assets.storage import ForgeStorage
from forge_pipelines.errors import PlatformError
from forge_pipelines.ledger.addresses import address_of
from forge_pipelines.ledger.postgres import connect

AWAY_SECONDS = 8.0  # Dagster's own patience is about six


@dg.asset
def answer() -> int:
    return 42


def back_after(seconds: float, home: Path) -> threading.Thread:
    """Have the server gone when this returns, and back after a while."""
    gone = threading.Event()

    def outage() -> None:
        with server_away(home):
            gone.set()
            time.sleep(seconds)

    thread = threading.Thread(target=outage)
    thread.start()
    assert gone.wait(10)
    return thread


def test_a_run_that_begins_while_the_server_is_away_is_all_there_when_it_is_back(settings: Settings) -> None:
    with dagster_instance(settings) as instance:
        outage = back_after(AWAY_SECONDS, settings.home)
        started = time.monotonic()
        result = dg.materialize([answer], instance=instance)
        assert AWAY_SECONDS - 1 < time.monotonic() - started < AWAY_SECONDS + 60
        outage.join()
        assert_all_there(instance, result)


def assert_all_there(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> None:
    """Whatever the run told is in the log, once; only an asset's events may be there twice."""
    told = Counter(event.event_type for event in result.all_events)
    logs = instance.all_logs(result.run_id)
    stored = Counter(log.dagster_event.event_type for log in logs if log.dagster_event)
    assert told - stored == Counter()
    assert {kind for kind, count in stored.items() if kind in told and count > told[kind]} <= ASSET_EVENTS
    run, last = instance.get_run_by_id(result.run_id), instance.get_latest_materialization_event(answer.key)
    assert run is not None
    assert run.is_success
    assert last is not None
    assert last.run_id == result.run_id


BREAK = """CREATE FUNCTION break() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('breaks') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
    RETURN NULL; END $$"""


@pytest.mark.parametrize("moment", ["INSERT ON event_logs", "UPDATE ON runs", "INSERT ON asset_keys"])
def test_a_connection_that_breaks_in_the_middle_of_writing_loses_nothing(settings: Settings, moment: str) -> None:
    with forge_environment(settings) as databases, dagster_instance(settings) as instance:
        trigger = f"CREATE TRIGGER break AFTER {moment} EXECUTE FUNCTION break()"
        ask(databases.dagster, "CREATE SEQUENCE breaks", BREAK, trigger)
        result = dg.materialize([answer], instance=instance)
        assert ask(databases.dagster, "SELECT last_value FROM breaks")[0] > 1, "it did break"
        assert_all_there(instance, result)


def test_what_was_written_before_its_connection_broke_is_not_written_twice(settings: Settings) -> None:
    with forge_environment(settings) as databases, dagster_instance(settings) as instance:
        breaks = cycle([True, False])

        def break_it(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("NOTIFY") and next(breaks):  # after the event was written
                pid = connection.connection.dbapi_connection.info.backend_pid
                ask(databases.dagster, f"SELECT pg_terminate_backend({pid}, 1000)")

        event.listen(instance.event_log_storage._engine, "before_cursor_execute", break_it)  # type: ignore[attr-defined]
        for _ in range(2):
            assert_all_there(instance, dg.materialize([answer], instance=instance))


def ask(url: str, *statements: str) -> Any:
    with closing(connect(url)) as session, session.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchone() if cursor.description else None


def test_a_server_that_refuses_is_not_waited_for(settings: Settings) -> None:
    with forge_environment(settings) as databases:
        for wrong in (databases.forge.replace("postgres@", "nobody@"), address_of(databases.forge, "nothing")):
            started = time.monotonic()
            with pytest.raises(PlatformError, match="does not exist"):
                connect(wrong, patience_seconds=60)
            assert time.monotonic() - started < 5


def test_a_first_opening_waits_for_nobody_and_a_steps_own_does(settings: Settings) -> None:
    with forge_environment(settings) as databases, exported({"FORGE_POSTGRES_URL": databases.forge}):
        with server_away(settings.home):
            started = time.monotonic()
            with pytest.raises(PlatformError, match="cannot be reached"):
                ForgeStorage()
            assert time.monotonic() - started < 5
        connect(databases.forge, patience_seconds=30).close()
        outage = back_after(3, settings.home)
        with exported({STEP_VARIABLE: "local"}):
            ForgeStorage().dispose()
        outage.join()


def test_the_web_server_says_within_seconds_that_the_database_is_away_and_works_at_once_when_it_is_back(
    settings: Settings,
) -> None:
    with forge_environment(settings) as databases, dagster_instance(settings) as instance:
        instance.optimize_for_webserver(statement_timeout=5000, pool_recycle=60, max_overflow=1)
        assert instance.get_runs() == []
        with server_away(settings.home):
            started = time.monotonic()
            with pytest.raises(OperationalError):
                instance.get_runs()
            assert time.monotonic() - started < AWAY_SECONDS
        connect(databases.forge, patience_seconds=30).close()
        assert instance.get_runs() == []
        ask(databases.forge, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        assert instance.get_runs() == [], "the connection that it held had broken"
