"""What is asked of a source's database: SELECTs over its table or query, as SQLAlchemy's values."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forge_pipelines.errors import ConfigError
from forge_pipelines.sources.places.config import SqlPlace

if TYPE_CHECKING:
    import sqlalchemy

_QUOTED = re.compile(
    r"[eE]'(?:\\.|''|[^'\\])*'|'(?:''|[^'])*'|\"[^\"]*\"|`[^`]*`|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$", re.DOTALL
)
_LIKE_PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w)")


@dataclass(frozen=True, slots=True)
class Statements:
    """SELECTs over what a source's configuration names.

    Attributes:
        source: the table, or the query as a subquery.
        id: the column that names a row.
    """

    source: "sqlalchemy.FromClause"
    id: "sqlalchemy.ColumnClause[Any]"

    def nothing(self) -> "sqlalchemy.Select[Any]":
        """Select every column of no row."""
        from sqlalchemy import false, literal_column, select

        return select(literal_column("*")).select_from(self.source).where(false())

    def count(self) -> "sqlalchemy.Select[Any]":
        """Count the rows."""
        from sqlalchemy import func, select

        return select(func.count()).select_from(self.source)

    def an_id(self) -> "sqlalchemy.Select[Any]":
        """Select some row's id."""
        from sqlalchemy import select

        return select(self.id).select_from(self.source).where(self.id.is_not(None)).limit(1)

    def rows_after(self, last: Any, columns: tuple[str, ...]) -> "sqlalchemy.Select[Any]":
        """Select columns of the rows in the order of their ids; of those after an id, and of those that have none."""
        from sqlalchemy import or_

        ordered = self._ordered(columns)
        return ordered if last is None else ordered.where(or_(self.id > last, self.id.is_(None)))

    def rows_of(self, ids: list[Any], columns: tuple[str, ...]) -> "sqlalchemy.Select[Any]":
        """Select columns of some rows, in the order of their ids."""
        return self._ordered(columns).where(self.id.in_(ids))

    def _ordered(self, columns: tuple[str, ...]) -> "sqlalchemy.Select[Any]":
        from sqlalchemy import column, select

        return select(*(column(name) for name in columns)).select_from(self.source).order_by(self.id)


def statements(config: SqlPlace) -> Statements:
    """Return the SELECTs of a source.

    Raises:
        ConfigError: its query is more than one statement.
    """
    from sqlalchemy import column, table

    if config.query is not None:
        return Statements(_subquery(config.query), column(config.id))
    assert config.table is not None, "the configuration holds one of the two"
    schema, _, name = config.table.rpartition(".")
    return Statements(table(name, schema=schema or None), column(config.id))


def _subquery(query: str) -> "sqlalchemy.FromClause":
    from sqlalchemy import text

    query = query.strip().rstrip(";").rstrip()
    bare = _QUOTED.sub(" ", query)
    depth = lowest = 0
    for character in bare:
        depth += {"(": 1, ")": -1}.get(character, 0)
        lowest = min(lowest, depth)
    if ";" in bare or lowest < 0 or depth:
        raise ConfigError("`sql.query` is not one SELECT: its brackets have no partners, or there is a `;` within it")
    # A line of its own closes a comment at the query's end; a colon would begin a parameter.
    return text(_LIKE_PARAMETER.sub(r"\\:", query) + "\n").columns().subquery("documents")
