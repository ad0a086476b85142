"""What a row of a database is as an item: its path, what says that it changed, and its content."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.sources.place import Item, ItemError
from forge_pipelines.sources.places.config import SqlPlace
from forge_pipelines.sources.places.template import compile_template

_FROM_TEXT: Mapping[type, Any] = {
    int: int,
    float: float,
    Decimal: Decimal,
    UUID: UUID,
    bytes: bytes.fromhex,
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
}


class RowReader:
    """Makes items and contents of rows.

    Args:
        config: which columns mean what.
        max_file_bytes: longer contents are refused.
        address: where the rows stand, for the sentences.
    """

    def __init__(self, config: SqlPlace, max_file_bytes: int, address: str) -> None:
        self._config, self._max_file_bytes, self._address = config, max_file_bytes, address
        self._template = compile_template(config.text)
        asked = f"{config.table}\0{config.query}\0{config.text}"
        self._shape = hashlib.sha256(asked.encode()).hexdigest()[:12]

    @property
    def of_contents(self) -> tuple[str, ...]:
        """The columns that a content is made of, and the id."""
        return tuple(dict.fromkeys((self._config.id, *self._template.columns)))

    @property
    def of_items(self) -> tuple[str, ...]:
        """The columns that an item is made of."""
        changed = self._config.updated_at
        return self.of_contents if changed is None else tuple(dict.fromkeys((self._config.id, changed)))

    def item(self, row: Mapping[str, Any]) -> Item:
        """Return a row as an item: with its content, or with what says that it changed.

        The stamp holds the change and, as a content is what the configuration makes of a row, a hash of that.

        Raises:
            ConfigError: a column holds bytes, and the text has more than it.
            DataError: the row has no id, or its change is no date.
        """
        path = self.path(row[self._config.id])
        if self._config.updated_at is not None:
            return self._changed(path, row[self._config.updated_at])
        try:
            content = self.content(row)
        except ItemError as refused:
            return Item(path, refusal=refused.refusal)
        return Item(path, num_bytes=len(content), content=content)

    def content(self, row: Mapping[str, Any]) -> bytes:
        """Return a row's text, or the bytes of the one column that the text is.

        Raises:
            ConfigError: a column holds bytes, and the text has more than it.
            ItemError: it is longer than is allowed.
        """
        value = None if self._template.only is None else row[self._template.only]
        if isinstance(value, bytes | bytearray | memoryview):
            content = bytes(value)
        else:
            content = self._text(row).encode("utf-8", "replace")
        if len(content) > self._max_file_bytes:
            limit = self._max_file_bytes
            raise ItemError("too_large", f"has {len(content):,} bytes, more than max_file_bytes ({limit:,}) allows")
        return content

    def path(self, value: Any) -> str:
        """Return an id as text.

        Raises:
            DataError: there is none.
        """
        path = _as_text(value)
        if not path:
            raise DataError(
                f"{self._address} has a row without `{self._config.id}`: name a column that each has as `sql.id`"
            )
        return path

    def _text(self, row: Mapping[str, Any]) -> str:
        for column in self._template.columns:
            if isinstance(row[column], bytes | bytearray | memoryview):
                raise ConfigError(
                    f"the column {column} of {self._address} holds bytes: "
                    f"write `sql.text` as {{{column}}} alone, which reads them as files, or leave it out"
                )
        return self._template.render(row)

    def _changed(self, path: str, value: Any) -> Item:
        changed = _in_utc(value)
        if changed is None:
            if value is None:
                return Item(path)
            raise DataError(
                f"the `{self._config.updated_at}` of row {path} in {self._address} is {str(value)[:40]!r}, "
                "which is no date: name another column as `sql.updated_at`"
            )
        return Item(path, f"{changed.isoformat()} {self._shape}", modified_at=changed.isoformat(timespec="seconds"))


def id_of(path: str, kind: type) -> Any:
    """Return the id that a path is the text of.

    Raises:
        ValueError: no id of this kind is written so.
    """
    return _FROM_TEXT.get(kind, str)(path)


def plain_id(value: Any) -> Any:
    """Return an id as a value that may be given back to the database."""
    return bytes(value) if isinstance(value, bytearray | memoryview) else value


def _as_text(value: Any) -> str:
    value = plain_id(value)
    match value:
        case None:
            return ""
        case bytes():
            return value.hex()
        case date():
            return value.isoformat()
        case _:
            return str(value)


def _in_utc(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        return None
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:  # the first and the last day of the calendar, seen from elsewhere
        return value.replace(tzinfo=UTC)
