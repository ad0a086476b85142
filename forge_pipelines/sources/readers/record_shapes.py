"""What is made of a record: a text, a chat or a preference, by the columns that are named or by their usual names."""

from collections.abc import Callable
from dataclasses import dataclass

from forge_pipelines.sources.place import ItemError, Refusal
from forge_pipelines.sources.places.config import RecordColumns
from forge_pipelines.sources.places.template import Template, compile_template
from forge_pipelines.sources.readers import record_chats, record_preferences
from forge_pipelines.sources.readers.reading import Reading, ReadingOptions, Record
from forge_pipelines.sources.readers.record_chats import as_text
from forge_pipelines.sources.readers.record_table import NoShapeError, Row, Table, names_of

TEXTS = ("text", "content", "body", "document")
"""The usual names of a text's column."""

_ASKED = record_chats.SYSTEMS + record_chats.PROMPTS
_CHATS = record_chats.MESSAGES + _ASKED + record_chats.INPUTS + record_chats.COMPLETIONS
_PREFERENCES = _ASKED + record_preferences.CHOSEN + record_preferences.REJECTED
_EXCERPT = 80


@dataclass(frozen=True, slots=True)
class Shape:
    """What the records of a file become.

    Attributes:
        named: the columns that the source's YAML names, by their settings.
        usual: the columns that are looked for.
        needs_usual: whether a file without any of the usual columns holds nothing of the kind.
        read: makes a record of a row; raises `ItemError` where it cannot.
    """

    named: dict[str, tuple[str, ...]]
    usual: tuple[str, ...]
    needs_usual: bool
    read: Callable[[Row, str], Reading | Record]

    def outcome(self, row: Row, table: Table) -> Reading | Record | Refusal:
        """Return what a row of a file becomes, or why it becomes nothing."""
        try:
            return self.read(row, table.media_type)
        except ItemError as refused:
            rule, reason, excerpt = refused.refusal.rule, refused.refusal.reason, refused.refusal.excerpt
            if isinstance(refused, NoShapeError):
                reason = f"{reason}; it has {names_of(table.columns if table.are_all else row)}"
            return Refusal(rule, reason, excerpt or excerpt_of(row))


def shape_of(options: ReadingOptions) -> Shape:
    """Return the shape that a source's YAML asks for.

    Raises:
        ItemError: its text is no column and no template.
    """
    columns = options.record_columns
    if options.record_kind == "chat":
        named = _named(columns, "messages", "prompt", "completion", "system")
        return Shape(named, _CHATS, False, lambda row, kind: chat_record(row, columns, kind))
    if options.record_kind == "preference":
        named = _named(columns, "prompt", "system", "chosen", "rejected")
        return Shape(named, _PREFERENCES, False, lambda row, kind: preference_record(row, columns, kind))
    if columns.text is None:
        return Shape({}, TEXTS, True, lambda row, _: _usual_text(row))
    template = _template(columns.text)
    return Shape({"text": template.columns}, (), False, lambda row, _: _text(row, template))


def chat_record(row: Row, columns: RecordColumns, media_type: str) -> Record:
    """Return a row as a chat.

    Raises:
        ItemError: it is none.
    """
    return Record("chat", record_chats.chat(row, columns), media_type)


def preference_record(row: Row, columns: RecordColumns, media_type: str) -> Record:
    """Return a row as a preference.

    Raises:
        ItemError: it is none.
    """
    return Record("preference", record_preferences.preference(row, columns), media_type)


def excerpt_of(row: Row) -> str:
    """Return the beginning of each value, in the columns' order, 200 characters at most."""
    return ", ".join(f"{name}: {str(value)[:_EXCERPT]}" for name, value in list(row.items())[:5])[:200]


def _named(columns: RecordColumns, *settings: str) -> dict[str, tuple[str, ...]]:
    given = {setting: getattr(columns, setting) for setting in settings}
    return {setting: (name,) for setting, name in given.items() if name is not None}


def _template(text: str) -> Template:
    if "{" not in text and "}" not in text:
        return Template(("", text, ""))
    try:
        return compile_template(text)
    except ValueError as error:
        raise ItemError("no_column", f"cannot be read: {error}; correct records.columns.text") from error


def _usual_text(row: Row) -> Reading:
    name = record_chats.column(row, None, TEXTS)
    if name is None:
        raise NoShapeError(f"has none of the columns {names_of(TEXTS)}")
    return Reading(as_text(row[name], name), "text/plain")


def _text(row: Row, template: Template) -> Reading:
    if not any(name in row for name in template.columns):
        raise NoShapeError(f"has no column {names_of(template.columns)}")
    if template.only is not None:
        return Reading(as_text(row[template.only], template.only), "text/plain")
    values = {name: row.get(name) for name in template.columns}
    texts = {name: as_text(value, name) if isinstance(value, bytes) else value for name, value in values.items()}
    return Reading(template.render(texts) if any(_says(text) for text in texts.values()) else "", "text/plain")


def _says(value: object) -> bool:
    return value is not None and bool(str(value).strip())
