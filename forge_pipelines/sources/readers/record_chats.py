"""How a record becomes a chat: the usual shapes of messages, of questions with answers, and the order of speakers."""

import json
from collections.abc import Iterable, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any

from forge_pipelines.manifest import Segment
from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.places.config import RecordColumns
from forge_pipelines.sources.readers.record_table import NoShapeError, Row

MESSAGES = ("messages", "conversations", "conversation")
PROMPTS = ("prompt", "instruction", "question", "query")
COMPLETIONS = ("completion", "response", "output", "answer")
SYSTEMS = ("system", "system_prompt")
INPUTS = ("input", "context")
"""The usual names of columns, those that are meant first before others. Inputs belong to an `instruction`."""

_ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "chatbot", "chatgpt"), "assistant"),
    **dict.fromkeys(("tool", "function", "ipython", "observation"), "tool"),
}
_NEXT = {
    "": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("tool", "assistant"),
}
_ORDER = "a chat goes from user to assistant and so on, system only before them and tool only after assistant"
_ROLE_FIELDS = ("role", "from")
_TEXT_FIELDS = ("content", "value")
_PLAIN = (str, bool, int, float, Decimal, date, time)


def chat(row: Row, columns: RecordColumns) -> tuple[Segment, ...]:
    """Return a record's chat.

    Raises:
        NoShapeError: no shape fits.
        ItemError: the roles are out of order, or there is no answer.
    """
    segments = tuple(_conversation(row, columns) or _question(row, columns))
    if not segments:
        raise NoShapeError("has neither messages nor a prompt with a completion")
    segments = system_of(row, columns) + segments
    if not any(segment.role == "assistant" for segment in segments):
        raise ItemError("no_answer", "has no answer: nobody speaks as assistant", segments[-1].text)
    check_order(segments)
    if segments[-1].role != "assistant":
        raise ItemError("roles", f"ends with {segments[-1].role}; a chat ends with assistant", segments[-1].text)
    if not segments[-1].text.strip():
        raise ItemError("no_answer", "has no answer: the last one is empty", segments[-2].text)
    return segments


def column(row: Row, named: str | None, usual: Iterable[str]) -> str | None:
    """Return the name of the column that is meant: the one that is named, else the first usual one with a value.

    Where none of the usual ones has a value, it is the first that is there at all; None where there is none.
    """
    names = [name for name in ([named] if named is not None else usual) if name in row]
    return next((name for name in names if row[name] is not None), names[0] if names else None)


def system_of(row: Row, columns: RecordColumns) -> tuple[Segment, ...]:
    """Return the system prompt that stands in a column of its own, if there is one.

    Raises:
        ItemError: what stands there is no text.
    """
    name = column(row, columns.system, SYSTEMS)
    text = "" if name is None else as_text(row[name], name)
    return (Segment("system", text),) if text.strip() else ()


def speeches(value: Any, name: str, role: str) -> tuple[Segment, ...]:
    """Return what stands in a column: a list of messages, or a text in a role; nothing for no value.

    Raises:
        ItemError: it is neither.
    """
    if value is None:
        return ()
    listed = _as_list(value)
    return (Segment(role, as_text(value, name)),) if listed is None else messages(listed, name)


def messages(value: Sequence[Any], name: str) -> tuple[Segment, ...]:
    """Return a list of messages; an empty system prompt is none.

    Raises:
        ItemError: they are no messages, or say more than text and a speaker.
    """
    segments = tuple(_message(message, name, number) for number, message in enumerate(value, 1))
    return segments[1:] if segments and segments[0] == Segment("system", "") else segments


def check_order(segments: Sequence[Segment]) -> None:
    """Refuse speakers out of order, and speakers who say nothing before the last.

    Raises:
        ItemError: they are.
    """
    before = ""
    for number, segment in enumerate(segments, 1):
        if segment.role not in _NEXT[before]:
            where = f"after {before}" if before else "at the beginning"
            raise ItemError("roles", f"has {segment.role} {where}, as message {number}: {_ORDER}", segment.text)
        if segment.role != "tool" and not segment.text.strip() and number < len(segments):
            raise ItemError("shape", f"has an empty message: {segment.role} says nothing in message {number}")
        before = segment.role


def as_text(value: Any, name: str) -> str:
    """Return a value as text: nothing for no value, numbers and dates as they are written.

    Raises:
        ItemError: it is no single value.
    """
    if value is None:
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ItemError("not_text", f"has a column {name} that is not UTF-8: {error.reason}") from error
    if isinstance(value, _PLAIN):
        return str(value)
    kind = "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else type(value).__name__
    raise ItemError("shape", f"has {kind} in its column {name}, where a text is due", str(value))


def _conversation(row: Row, columns: RecordColumns) -> tuple[Segment, ...]:
    if columns.messages is None and (columns.prompt or columns.completion):
        return ()
    names = MESSAGES if columns.messages is None else (columns.messages,)
    name = next((name for name in names if _as_list(row.get(name)) is not None), None)
    if name is not None:
        listed = _as_list(row[name])
        if not listed:
            raise ItemError("no_answer", f"has no answer: its column {name} is empty")
        return messages(listed, name)
    if columns.messages is not None:
        raise NoShapeError(f"has no list of messages as its column {columns.messages}")
    return ()


def _question(row: Row, columns: RecordColumns) -> tuple[Segment, ...]:
    asked, answered = column(row, columns.prompt, PROMPTS), column(row, columns.completion, COMPLETIONS)
    if asked is None or answered is None or row[asked] is None:
        return ()
    question = speeches(row[asked], asked, "user")
    if asked == "instruction" and columns.prompt is None and len(question) == 1:
        name = column(row, None, INPUTS)
        more = "" if name is None else as_text(row[name], name)
        question = (Segment("user", f"{question[0].text}\n\n{more}"),) if more.strip() else question
    return question + (speeches(row[answered], answered, "assistant") or (Segment("assistant", ""),))


def _as_list(value: Any) -> list[Any] | None:
    """Return a list of messages, which a CSV file can only hold as JSON; None for anything else."""
    if isinstance(value, list):
        return value
    if isinstance(value, str) and value.lstrip().startswith("[") and value.rstrip().endswith("]"):
        try:
            listed = json.loads(value)
        except (ValueError, RecursionError):  # a text in brackets
            return None
        is_messages = bool(listed) and all(isinstance(each, dict) and _field(each, _ROLE_FIELDS) for each in listed)
        return listed if is_messages else None
    return None


def _message(message: Any, name: str, number: int) -> Segment:
    where = f"message {number} of its column {name}"
    role = _field(message, _ROLE_FIELDS) if isinstance(message, dict) else None
    if not isinstance(role, str):
        raise ItemError("shape", f"has no role in {where}; a message has a role and a content", str(message))
    if role.lower() not in _ROLES:
        known = "none of system, user, assistant and tool"
        raise ItemError("roles", f"has the role {role[:60]!r} in {where}, which is {known}", str(message))
    if message.get("tool_calls") or message.get("function_call"):
        reason = f"calls a tool in {where}, which is not read; write the call into the content"
        raise ItemError("shape", reason, str(message))
    return Segment(_ROLES[role.lower()], _said(_field(message, _TEXT_FIELDS), where))


def _said(content: Any, where: str) -> str:
    if isinstance(content, list):
        return "\n\n".join(_part(part, where) for part in content)
    if content is not None and not isinstance(content, str):
        raise ItemError("shape", f"has no text as the content of {where}", str(content))
    return content or ""


def _part(part: Any, where: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and isinstance(part.get("text"), str) and part.get("type", "text") == "text":
        text: str = part["text"]
        return text
    kind = str(part.get("type"))[:60] if isinstance(part, dict) else type(part).__name__
    raise ItemError("shape", f"has a part of the type {kind} in {where}; only texts are read", str(part))


def _field(message: dict[str, Any], names: Iterable[str]) -> Any:
    return next((message[name] for name in names if message.get(name) is not None), None)
