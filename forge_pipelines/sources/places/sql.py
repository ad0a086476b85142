"""A database as a place: a row is a document. One scan in the order of ids, which goes on where a connection breaks."""

import socket
from collections import deque
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.sources.connections import Connection
from forge_pipelines.sources.place import Item, ItemError, Refusal
from forge_pipelines.sources.places.config import SqlPlace
from forge_pipelines.sources.places.database import BrokenError, Database
from forge_pipelines.sources.places.patience import WAITS_SECONDS, patiently, steadily
from forge_pipelines.sources.places.reach import Resolve
from forge_pipelines.sources.places.rows import RowReader, id_of, plain_id
from forge_pipelines.sources.places.statements import statements

if TYPE_CHECKING:
    import sqlalchemy

_MOST_ROWS = 500
_ROUND_BYTES = 4 << 20
_GONE = Refusal("changed", "was deleted while the database was being read")


class Sql:
    """The rows of a table or a query.

    Without a column that says when a row was changed, the scan gives each item its content; with one, the scan reads
    ids and changes alone, and rows are fetched by their ids.

    Args:
        config: what the source says.
        connection: the database.
        max_file_bytes: longer documents are refused.
        resolve: finds a name's addresses.
        waits_seconds: between the tries, where the database does not answer.

    Raises:
        ConfigError: the connection is no database's, or its driver is missing; the query is not one SELECT.
    """

    def __init__(
        self,
        config: SqlPlace,
        connection: Connection,
        max_file_bytes: int,
        *,
        resolve: Resolve = socket.getaddrinfo,
        waits_seconds: tuple[float, ...] = WAITS_SECONDS,
    ) -> None:
        self._config, self._waits_seconds = config, waits_seconds
        self.wanted = "`sql.query`" if config.table is None else f"the table {config.table}"
        self._database = Database(config.connection, connection, config.allow_public, self.wanted, resolve)
        self.address = self._database.place + (f"/{config.table}" if config.table else "")
        self._statements = statements(config)
        self._reader = RowReader(config, max_file_bytes, self.address)
        self.num_skipped_hidden = self.num_skipped_links = 0

    def expect(self) -> int | None:
        """See `Place.expect`: the rows are counted."""
        self._need_columns()
        return int(self._one(self._statements.count()))

    def items(self) -> Iterator[Item]:
        """See `Place.items`: in the order of their ids."""
        self._need_columns()
        last_id: Any = None
        last_path: str | None = None

        def go_on() -> Iterator[Item]:
            nonlocal last_id, last_path
            with self._database.session() as session:
                for row in self._rows(session, self._statements.rows_after(last_id, self._reader.of_items)):
                    item = self._reader.item(row)
                    if item.path == last_path:
                        raise DataError(
                            f"{self.address} has two rows with the `{self._config.id}` {item.path!r}: "
                            "name a column that is different in each as `sql.id`"
                        )
                    last_id, last_path = plain_id(row[self._config.id]), item.path
                    yield item

        yield from steadily(go_on, _passing, self._database.what, self._waits_seconds)

    def fetch(self, items: Sequence[Item]) -> Iterator[bytes | Path | Refusal]:
        """See `Place.fetch`: a batch of rows is one question."""
        if not items:
            return
        self._need_columns()
        kind = type(plain_id(self._one(self._statements.an_id())))
        for start in range(0, len(items), _MOST_ROWS):
            pending = deque(item.path for item in items[start : start + _MOST_ROWS])
            fetched = partial(self._fetched, pending, kind)
            yield from steadily(fetched, _passing, self._database.what, self._waits_seconds)

    def _fetched(self, pending: deque[str], kind: type) -> Iterator[bytes | Refusal]:
        """Yield the contents of the rows with these paths, which are taken from the left of what is pending.

        Which rows there still are is asked first: so none has to be held that comes before its turn, if the paths
        stand in the order of the ids.
        """
        ids = [identity for path in pending if (identity := _id_or_none(path, kind)) is not None]
        with self._database.session() as session:
            only_ids = self._statements.rows_of(ids, (self._config.id,))
            there = {self._reader.path(row[self._config.id]) for row in self._rows(session, only_ids)}
            rows = self._rows(session, self._statements.rows_of(ids, self._reader.of_contents))
            early: dict[str, bytes | Refusal] = {}
            while pending:
                while pending[0] in there and pending[0] not in early and (row := next(rows, None)) is not None:
                    early[self._reader.path(row[self._config.id])] = self._content(row)
                yield early.pop(pending.popleft(), _GONE)

    def _content(self, row: dict[str, Any]) -> bytes | Refusal:
        try:
            return self._reader.content(row)
        except ItemError as refused:
            return refused.refusal

    def _rows(self, session: "sqlalchemy.Connection", statement: "sqlalchemy.Select[Any]") -> Iterator[dict[str, Any]]:
        """Yield rows from a cursor at the server; as many are held at once as are small together.

        Raises:
            DataError: a value is none that can be read.
        """
        result = session.execution_options(stream_results=True).execute(statement)
        names = list(result.keys())
        num_rows = 1
        while True:
            try:
                rows = result.fetchmany(num_rows)
            except ValueError as error:
                reason = str(error).partition("\n")[0][:200]
                raise DataError(f"{self.address} holds a value that cannot be read: {reason}") from error
            if not rows:
                return
            num_bytes = 0
            for row in rows:
                num_bytes += sum(len(value) for value in row if isinstance(value, str | bytes | memoryview))
                yield dict(zip(names, row, strict=True))
            num_rows = max(1, min(2 * num_rows, _MOST_ROWS, num_rows * _ROUND_BYTES // (num_bytes + 1)))

    def _one(self, statement: "sqlalchemy.Select[Any]") -> Any:
        def ask() -> Any:
            with self._database.session() as session:
                return session.execute(statement).scalar()

        return patiently(ask, _passing, self._database.what, self._waits_seconds)

    def _need_columns(self) -> None:
        """Ask for all columns of no row.

        Raises:
            ConfigError: there is no such table, or a column that is named is not among them.
        """

        def ask() -> list[str]:
            with self._database.session() as session:
                self._need_table(session)
                return list(session.execute(self._statements.nothing()).keys())

        there = patiently(ask, _passing, self._database.what, self._waits_seconds)
        named = [("sql.id", self._config.id), ("sql.updated_at", self._config.updated_at)]
        named += [("sql.text", column) for column in self._reader.of_contents]
        for field, column in named:
            if column is not None and column not in there:
                raise ConfigError(
                    f"`{field}` names the column {column}, which {self.address} does not have: "
                    + _nearest(column, there)
                )

    def _need_table(self, session: "sqlalchemy.Connection") -> None:
        from sqlalchemy import inspect

        if self._config.table is None:
            return
        schema, _, table = self._config.table.rpartition(".")
        database = inspect(session)
        if not database.has_table(table, schema or None):
            there = [*database.get_table_names(schema or None), *database.get_view_names(schema or None)]
            raise ConfigError(
                f"`sql.table` names the table {self._config.table}, which {self._database.place} does not have: "
                + _nearest(table, there)
            )


def _passing(error: Exception) -> str | None:
    return str(error) if isinstance(error, BrokenError) else None


def _nearest(name: str, there: list[str]) -> str:
    nearest = get_close_matches(name, there, 1)
    meant = f"did you mean {nearest[0]}? " if nearest else ""
    return f"{meant}there are {', '.join(there[:30]) or 'none'}"


def _id_or_none(path: str, kind: type) -> Any:
    try:
        return id_of(path, kind)
    except (ValueError, ArithmeticError):  # no such id can be there
        return None
