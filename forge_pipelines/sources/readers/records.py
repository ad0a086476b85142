"""Records of data sets: rows of Parquet, Arrow, JSON, CSV and Excel files as texts, chats and preferences."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from forge_pipelines.sources.place import ItemError, Refusal
from forge_pipelines.sources.readers.reading import Content, Contents, Entry, ReadingOptions
from forge_pipelines.sources.readers.record_files import open_table
from forge_pipelines.sources.readers.record_shapes import Shape, excerpt_of, shape_of
from forge_pipelines.sources.readers.record_table import Row, Table, names_of

_LONGEST_ID = 500


def read_records(content: Content, options: ReadingOptions) -> Contents:
    """Return a file's records, each under `#` and its number, or what the column of ids says.

    A record that is not what its source asks for is refused, by one of the rules `shape` (no shape fits), `roles`,
    `no_answer`, `equal` (chosen and rejected are), `no_id`, `duplicate_id`, `damaged`, `not_text` and `too_large`.

    Raises:
        ItemError: the file is no data set (`not_records`), lacks a column that is named (`no_column`), or is damaged at
            its beginning. Where it is damaged further on, the records before are read, and then this is raised.
    """
    shape = shape_of(options)
    id_column = options.record_columns.id
    named = shape.named if id_column is None else {**shape.named, "id": (id_column,)}
    meant = {*shape.usual, *chain.from_iterable(named.values())}
    table = open_table(content, meant)
    if table.columns:
        _refuse_unknown(table.columns, named)
        _refuse_nothing_usual(table.columns, shape)
    ids = None if id_column is None else _Ids(id_column)
    return Contents(None, _entries(table, shape, ids, meant.intersection(table.columns)))


def _refuse_unknown(columns: Collection[str], named: Mapping[str, Iterable[str]]) -> None:
    for setting, names in named.items():
        for name in names:
            if name not in columns:
                there = f"it has {names_of(columns)}"
                raise ItemError("no_column", f"has no column {name}; {there}: correct records.columns.{setting}")


def _refuse_nothing_usual(columns: Collection[str], shape: Shape) -> None:
    if shape.needs_usual and not set(shape.usual).intersection(columns):
        there = f"it has {names_of(columns)}"
        reason = f"has none of the columns {names_of(shape.usual)}; {there}: name one as records.columns.text"
        raise ItemError("no_column", reason)


def _entries(table: Table, shape: Shape, ids: "_Ids | None", wanted: Collection[str]) -> Iterator[Entry]:
    for number, row in enumerate(table.rows(wanted or None), 1):
        if isinstance(row, Refusal):
            yield Entry(f"#{number}", row)
            continue
        name = str(number) if ids is None else ids.name(row)
        if isinstance(name, Refusal):
            yield Entry(f"#{number}", name)
        else:
            yield Entry(f"#{name}", shape.outcome(row, table))


@dataclass(slots=True)
class _Ids:
    """The ids that were seen, as 64 bits each: of 370,000 files of ten million records, two are alike in one."""

    column: str
    seen: set[int] = field(default_factory=set)

    def name(self, row: Row) -> str | Refusal:
        value = row.get(self.column)
        text = _id_text(value)
        if text is None:
            what = "no id" if value in (None, "") else "an id that is no whole number and no short text"
            return Refusal("no_id", f"has {what} in its column {self.column}", excerpt_of(row))
        key = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
        if key in self.seen:
            reason = f"has the id {text[:60]} in its column {self.column}, which a record before it has"
            return Refusal("duplicate_id", reason, excerpt_of(row))
        self.seen.add(key)
        return text


def _id_text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    return text if 0 < len(text) <= _LONGEST_ID and text.isprintable() else None
