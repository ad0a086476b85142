"""A database of the site: sessions that only read, at checked addresses, and what goes wrong there in sentences."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from forge_pipelines.errors import ConfigError, DataError, PlatformError
from forge_pipelines.sources.connections import Connection
from forge_pipelines.sources.places.reach import Resolve, checked_addresses

if TYPE_CHECKING:
    import sqlalchemy

_LIBPQ = {"psycopg2", "psycopg"}
_FILES = {"sqlite", "duckdb"}
_UNCHECKED = ("hostaddr", "service", "servicefile", "odbc_connect", "dsn")
_CONNECT_SECONDS = 10
_REFUSALS = re.compile(
    r"authentication failed|pg_hba\.conf|does not exist|not permitted|permission denied|no password|certificate|"
    r"SSL was required|invalid|Access denied|Unknown database|Login failed|ORA-01017"
)
_PASSING_STATES = ("08", "57P", "25P03", "40001", "40P01", "53300")
"""SQLSTATE: connections, shutdown, idle in a transaction, a standby's conflict, a deadlock, too many connections."""
_SECRET = re.compile(r"password|secret|token|key", re.IGNORECASE)


class BrokenError(Exception):
    """A session broke, or could not be opened, for a reason that passes by itself; the message holds no secret."""


class Database:
    """A database that is only read.

    Args:
        name: the connection's.
        connection: its URL.
        allow_public: whether it may stand at a public address.
        asked: what is read of it, in words.
        resolve: finds a name's addresses.

    Raises:
        ConfigError: the connection is no database's, or there is no driver for it.
    """

    def __init__(
        self, name: str, connection: Connection, allow_public: bool, asked: str, resolve: Resolve = socket.getaddrinfo
    ) -> None:
        self.what = f"the database of connection {name}"
        self._allow_public, self._asked, self._resolve = allow_public, asked, resolve
        if connection.url is None:
            raise ConfigError(f"the connection {name} is an object store's: a database's holds its URL")
        self._url = _url(connection.url.get_secret_value(), self.what)
        self._secrets = _secrets(self._url)
        self._engine = self._open_engine()
        self.place = self._place()

    @contextmanager
    def session(self) -> "Iterator[sqlalchemy.Connection]":
        """Give a session in a transaction that only reads, where the database knows such; rolled back at its end.

        Raises:
            BrokenError: it cannot be opened, or breaks, and another may do.
            ConfigError: the address may not be reached, or the database refuses the account.
            DataError: what is asked fails.
        """
        from sqlalchemy.exc import DBAPIError

        opened = False
        try:
            with self._engine.connect() as connection:
                opened = True
                yield connection
                return
        except DBAPIError as error:
            fault = self._failed(error) if opened else self._unopened(error)
        raise fault

    def _open_engine(self) -> "sqlalchemy.Engine":
        from sqlalchemy import create_engine, event
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError
        from sqlalchemy.pool import NullPool

        try:
            engine = create_engine(self._url, poolclass=NullPool, hide_parameters=True)
        except (NoSuchModuleError, ModuleNotFoundError) as error:
            driver = self._url.drivername
            raise ConfigError(f"{self.what} needs {driver}, which is not installed here: install its driver") from error
        except ArgumentError:
            engine = None
        if engine is None or engine.dialect.is_async:
            raise ConfigError(f"{self.what} has a URL that cannot be used: correct it, such as postgresql://…")
        if engine.dialect.name == "postgresql":
            engine = engine.execution_options(postgresql_readonly=True)
        if engine.dialect.name in _FILES:
            self._need_file()
        elif engine.dialect.driver in _LIBPQ:
            event.listen(engine, "do_connect", lambda _dialect, _record, _args, given: self._pin(given))
        else:
            event.listen(engine, "do_connect", lambda _dialect, _record, _args, given: self._check(given))
        return engine

    def _place(self) -> str:
        hosts = str(self._engine.dialect.create_connect_args(self._url)[1].get("host") or self._url.host or "")
        port = f":{self._url.port}" if self._url.port else ""
        return f"{hosts}{port}/{self._url.database or ''}" if hosts else str(self._url.database)

    def _need_file(self) -> None:
        if not Path(self._url.database or "").is_file():
            raise ConfigError(f"{self.what} is the file {self._url.database}, which does not exist: correct its URL")

    def _pin(self, given: dict[str, Any]) -> None:
        """Give libpq the addresses that were checked beside the names, which stay for TLS: it resolves none itself.

        Raises:
            ConfigError: an address may not be reached, or there is no host.
            BrokenError: the name service does not answer.
        """
        self._refuse_unchecked()
        hosts = str(given.get("host") or "").split(",")
        ports = str(given.get("port") or "5432").split(",")
        reached: list[tuple[str, str, str]] = []
        for at, host in enumerate(hosts):
            port = ports[min(at, len(ports) - 1)]
            if not host:
                raise ConfigError(
                    f"{self.what} names no host: write it, or its socket's folder as ?host=/run/postgresql"
                )
            local = host.startswith(("/", "@"))
            reached += [(host, address, port) for address in ([""] if local else self._addresses(host, port))]
        given["host"], addresses, given["port"] = (",".join(column) for column in zip(*reached, strict=True))
        if addresses.strip(","):
            given["hostaddr"] = addresses
        given.setdefault("connect_timeout", _CONNECT_SECONDS)

    def _check(self, given: dict[str, Any]) -> None:
        """Check what a driver resolves itself, right before it does.

        Raises:
            ConfigError: an address may not be reached, or there is no host.
            BrokenError: the name service does not answer.
        """
        self._refuse_unchecked()
        if "unix_socket" in given:
            return
        hosts = {self._url.host, *(given.get(name) for name in ("host", "hostname", "server"))} - {None}
        if not hosts:
            raise ConfigError(f"{self.what} names no host: write it into its URL")
        for host in hosts:
            self._addresses(str(host), str(self._url.port or 0))

    def _refuse_unchecked(self) -> None:
        for parameter in _UNCHECKED:
            if parameter in self._url.query:
                raise ConfigError(f"{self.what} has `{parameter}` in its URL, which cannot be checked: write its host")

    def _addresses(self, host: str, port: str) -> list[str]:
        number = int(port) if port.isdecimal() else 0
        try:
            return checked_addresses(
                host, number, allow_public=self._allow_public, what=self.what, resolve=self._resolve
            )
        except PlatformError as error:
            raise BrokenError(f"the name service gives no answer for {host}") from error

    def _unopened(self, error: "sqlalchemy.exc.DBAPIError") -> Exception:
        from sqlalchemy.exc import OperationalError

        reason = self._reason(error)
        passes = isinstance(error, OperationalError) and self._engine.dialect.name not in _FILES
        if passes and not _REFUSALS.search(str(error.orig)):
            return BrokenError(reason)
        return ConfigError(
            f"{self.what} ({self.place}) refuses: {reason}; correct the connection, or its account there"
        )

    def _failed(self, error: "sqlalchemy.exc.DBAPIError") -> Exception:
        reason = self._reason(error)
        state = getattr(error.orig, "pgcode", None) or getattr(error.orig, "sqlstate", None) or ""
        if error.connection_invalidated or str(state).startswith(_PASSING_STATES):
            return BrokenError(reason)
        return DataError(f"reading {self._asked} fails in {self.what} ({self.place}): {reason}; correct it")

    def _reason(self, error: "sqlalchemy.exc.DBAPIError") -> str:
        """Return the one line of a driver's message that says what happened, without secrets."""
        lines = str(error.orig).strip().split("\n")
        line = next((line for line in reversed(lines) if " failed: " in line), lines[0])
        line = line.rpartition(" failed: ")[2].removeprefix("FATAL:").strip()
        for secret in self._secrets:
            line = line.replace(secret, "***")
        return line[:300]


def _url(text: str, what: str) -> "sqlalchemy.URL":
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    if url is None:  # raised here, so that no error that quotes a part of it stands behind this one
        raise ConfigError(f"{what} has no URL of the form postgresql://user:password@host:port/database: correct it")
    return url.set(drivername="postgresql") if url.drivername == "postgres" else url


def _secrets(url: "sqlalchemy.URL") -> list[str]:
    values = [] if url.password is None else [str(url.password)]
    for name, value in url.query.items():
        if _SECRET.search(name):
            values += [value] if isinstance(value, str) else value
    written = {form for value in values if value for form in (value, quote(value, safe=""), quote_plus(value))}
    return sorted(written, key=len, reverse=True)
