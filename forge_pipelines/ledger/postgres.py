"""PostgreSQL: the server that a site names, or an embedded one that lives as long as somebody uses it.

The embedded server listens on a Unix socket alone, in a folder that nobody but its owner enters. Processes with the
same FORGE_HOME share it; `keeper.py` runs it, and says how it ends with the last of them.
"""

import fcntl
import logging
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection

from forge_pipelines import processes
from forge_pipelines.errors import PlatformError
from forge_pipelines.ledger.addresses import NAMES, Databases, address_of, addresses, place_of, socket_folder
from forge_pipelines.ledger.keeper import READY, log_path, try_lock
from forge_pipelines.ledger.schema import migrate

_CONNECT_SECONDS = 5
_WAIT_SECONDS = 60
_REFUSALS = re.compile(r"authentication failed|pg_hba\.conf|does not exist|not permitted|permission denied|no password")

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


@contextmanager
def postgres(home: Path, url: str | None, patience_seconds: float = 0.0) -> Iterator[Databases]:
    """Give the addresses of Forge's databases, which exist and answer, while the context lasts.

    Args:
        home: FORGE_HOME, absolute; the embedded server's data stand in ``postgres/`` below it.
        url: a ``postgresql://`` address of a server to use instead; any of its databases.
        patience_seconds: how long to wait for that server where it is away.

    Raises:
        ConfigError: ``url`` is no such address.
        PlatformError: the server cannot be reached, refuses, or does not start; the disk is full.
    """
    databases = addresses(home, url)
    if url is not None:
        _prepare(address_of(url), patience_seconds)
        yield databases
        return
    with _users(home) as users:
        _ensure_running(home, address_of(databases.forge, "postgres"))
        _prepare(address_of(databases.forge, "postgres"))
        yield replace(databases, descriptor=users)


def make_socket_folder(home: Path) -> Path:
    """Make the folder of Unix sockets where it is missing, and return it.

    Raises:
        PlatformError: somebody else has made it.
    """
    folder = socket_folder(home)
    folder.mkdir(mode=0o700, exist_ok=True)
    found, owners = folder.lstat(), {os.geteuid(), home.stat().st_uid}
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o077:
        raise PlatformError(f"{folder} is not this user's alone: remove it, or set FORGE_HOME to another path")
    return folder


@contextmanager
def writing_to(home: Path) -> Iterator[None]:
    """Say in a sentence that FORGE_HOME cannot be written.

    Raises:
        PlatformError: with that sentence.
    """
    try:
        yield
    except OSError as error:
        remedy = "free some space or make it writable, or set FORGE_HOME to another folder"
        raise PlatformError(f"FORGE_HOME {home} cannot be written ({error.strerror}): {remedy}") from error


@contextmanager
def exclusive(url: str, task: str) -> Iterator[None]:
    """Hold a lock that the server keeps, so that one process at a time, on any machine, does the named task.

    Raises:
        PlatformError: the database cannot be reached.
    """
    with closing(connect(url)) as session, session.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext(%s))", (task,))
        yield


@contextmanager
def _users(home: Path) -> Iterator[int]:
    """Be one of the server's users; yield the descriptor that says so, and wait for the end after the last.

    Raises:
        PlatformError: FORGE_HOME cannot be written.
    """
    folder = home / "postgres"
    with writing_to(home):
        for made in (log_path(home).parent, folder):
            made.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        users = (folder / "users.lock").open("a")
    try:
        fcntl.flock(users, fcntl.LOCK_SH)
        yield users.fileno()
    finally:
        users.close()
        _wait_for_the_end(folder)


def _ensure_running(home: Path, server: str) -> None:
    folder = home / "postgres"
    with (folder / "start.lock").open("a") as start, (folder / "keeper.lock").open("a") as keeper:
        fcntl.flock(start, fcntl.LOCK_EX)
        deadline = time.monotonic() + _WAIT_SECONDS
        while not _answers(server):
            if try_lock(keeper, fcntl.LOCK_EX):
                fcntl.flock(keeper, fcntl.LOCK_UN)
                _start_keeper(home)
            if time.monotonic() > deadline:
                raise PlatformError(f"PostgreSQL in {folder} does not answer; its log says why: {log_path(home)}")
            time.sleep(0.05)


def _answers(server: str) -> bool:
    try:
        psycopg2.connect(server, connect_timeout=_CONNECT_SECONDS).close()
    except psycopg2.OperationalError:
        return False
    return True


def _start_keeper(home: Path) -> None:
    sockets, log = make_socket_folder(home), log_path(home)
    starter = processes.detach(
        [sys.executable, "-m", "forge_pipelines.ledger.keeper", str(home), str(sockets)], log=log
    )
    assert starter.stdout is not None
    with starter.stdout as reports:
        report = reports.readline().strip()
    if report != READY:
        raise PlatformError(report or f"PostgreSQL does not start; its log says why: {log}")


def _wait_for_the_end(folder: Path) -> None:
    """Return when the server has stopped, or when it goes on for others."""
    deadline = time.monotonic() + _WAIT_SECONDS
    with (folder / "users.lock").open("a") as users, (folder / "keeper.lock").open("a") as keeper:
        while not try_lock(keeper, fcntl.LOCK_EX) and time.monotonic() < deadline:
            if try_lock(users, fcntl.LOCK_EX):
                fcntl.flock(users, fcntl.LOCK_UN)  # nobody is left: the keeper sees it next
            elif try_lock(users, fcntl.LOCK_SH):
                return
            time.sleep(0.02)


def _prepare(server: str, patience_seconds: float = 0.0) -> None:
    """Create the databases and tables that are missing, one process at a time.

    Raises:
        PlatformError: the server cannot be reached, or does not create them.
    """
    connect(server, patience_seconds).close()
    with exclusive(server, "forge databases"), closing(connect(server)) as session, session.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database")
        existing = {name for (name,) in cursor.fetchall()}
        for name in sorted(set(NAMES) - existing):
            try:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            except psycopg2.Error as error:
                message = f"PostgreSQL at {place_of(server)} does not create the database {name} ({_reason(error)})"
                raise PlatformError(f"{message}: create it there, or let the account do so") from error
        with closing(connect(address_of(server, "forge"))) as own:
            migrate(own)


def connect(url: str, patience_seconds: float = 0.0) -> connection:
    """Open a session in which each statement is a transaction of its own; wait a while for a server that is away.

    Raises:
        PlatformError: the database cannot be reached.
    """
    try:
        opened = patiently(lambda: psycopg2.connect(url, connect_timeout=_CONNECT_SECONDS), patience_seconds)
    except psycopg2.Error as error:
        message = f"PostgreSQL at {place_of(url)} cannot be reached ({_reason(error)})"
        raise PlatformError(f"{message}: start it, or correct FORGE_POSTGRES_URL") from error
    opened.autocommit = True
    return opened


def patiently(doing: Callable[[], T], patience_seconds: float, is_away: Callable[[Exception], bool] | None = None) -> T:
    """Do something again and again, for as long as the patience lasts and the server is away; say so once.

    Args:
        doing: what may be done again.
        patience_seconds: since the first try.
        is_away: whether an error says that the server is away; else that of a connection which could not be opened.

    Raises:
        Exception: of the last try, or of the first that another try cannot mend.
    """
    deadline, wait_seconds, said = time.monotonic() + patience_seconds, 0.1, False
    while True:
        try:
            return doing()
        except Exception as error:
            if not (is_away or _is_absent)(error) or time.monotonic() + wait_seconds > deadline:
                raise
            if not said:
                reason = str(error).partition("\n")[0]
                _LOG.warning("PostgreSQL is waited for, %.0f s at most: %s", patience_seconds, reason)
                said = True
        time.sleep(wait_seconds)
        wait_seconds = min(2 * wait_seconds, 2.0)


def _is_absent(error: Exception) -> bool:
    """Say whether it is the server that is away, and not an account or database that it refuses."""
    return isinstance(error, psycopg2.OperationalError) and _REFUSALS.search(str(error)) is None


def _reason(error: psycopg2.Error) -> str:
    return str(error).partition("\n")[0].rpartition("failed: ")[2]
