"""Files of records in a folder, where nobody says what a record is: JSON lines, Parquet and Arrow."""

import codecs
import io
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from forge_pipelines.sources.place import ItemError, Refusal
from forge_pipelines.sources.places.config import RecordColumns
from forge_pipelines.sources.readers import notebook, record_chats, text
from forge_pipelines.sources.readers.reading import Contents, Entry, Reading, Record
from forge_pipelines.sources.readers.record_arrow import arrow_table, is_arrow
from forge_pipelines.sources.readers.record_chats import as_text
from forge_pipelines.sources.readers.record_json import lines_table, parse_line
from forge_pipelines.sources.readers.record_shapes import chat_record, excerpt_of, preference_record
from forge_pipelines.sources.readers.record_table import Row, Table

_TEXTS = ("text", "content", "body")
_NO_MAPPING = RecordColumns()


def accepts(head: bytes) -> bool:
    """Accept Parquet, Arrow, and what begins with two lines that are JSON objects, or with one that is cut or alone."""
    if is_arrow(head):
        return True
    if not head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
        return False
    first, *others = islice((line for line in head.splitlines() if line.strip()), 2)
    if others:
        return isinstance(parse_line(first), dict)
    return not notebook.accepts(head)


def read(content: bytes) -> Reading | Contents:
    """Return the records: chats, preferences and texts as such, any other as a line for each of its columns.

    JSON of another form than one object a line is plain text; so is a file with one object that is no conversation.

    Raises:
        ItemError: the file is damaged at its beginning, or is not text.
    """
    if is_arrow(content[:16]):
        return Contents(None, _entries(arrow_table(content)))
    rows = [parse_line(line) for line in islice(filter(bytes.strip, io.BytesIO(content)), 2)]
    if all(isinstance(row, dict) for row in rows) and (len(rows) == 2 or _is_conversation(rows[0])):
        return Contents(None, _entries(lines_table(content)))
    return text.read(content)


def _entries(table: Table) -> Iterator[Entry]:
    for number, row in enumerate(table.rows(None), 1):
        yield Entry(f"#{number}", row if isinstance(row, Refusal) else _outcome(row, table.media_type))


def _outcome(row: Row, media_type: str) -> Reading | Record | Refusal:
    try:
        return _conversation(row, media_type) or _text(row, media_type)
    except ItemError as refused:
        refusal = refused.refusal
        return Refusal(refusal.rule, refusal.reason, refusal.excerpt or excerpt_of(row))


def _conversation(row: Row, media_type: str) -> Record | None:
    """Return the record as a preference or a chat; None where its columns are those of neither.

    Raises:
        ItemError: they are, but it is out of order or lacks an answer.
    """
    for reader in (preference_record, chat_record):
        try:
            return reader(row, _NO_MAPPING, media_type)
        except ItemError as refused:
            if refused.refusal.rule != "shape":
                raise
    return None


def _is_conversation(row: Any) -> bool:
    names = (*record_chats.MESSAGES, "chosen")
    return any(isinstance(row.get(name), list) for name in names) and isinstance(_outcome(row, ""), Record)


def _text(row: Row, media_type: str) -> Reading:
    name = next((name for name in _TEXTS if isinstance(row.get(name), str) and row[name].strip()), None)
    if name is not None:
        return Reading(row[name], media_type)
    lines = (f"{name}: {_shown(value, name)}" for name, value in row.items() if value is not None)
    return Reading("\n".join(lines), media_type)


def _shown(value: Any, name: str) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return as_text(value, name[:60])
