"""Records as JSON: one object a line, or a list of objects. Neither is ever held whole."""

import codecs
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import IO, Any, TextIO

from forge_pipelines.sources.place import ItemError, Refusal
from forge_pipelines.sources.readers.reading import Content
from forge_pipelines.sources.readers.record_stream import LONGEST_BYTES, open_stream
from forge_pipelines.sources.readers.record_table import Row, Table

LINES_MEDIA_TYPE = "application/x-ndjson"
ARRAY_MEDIA_TYPE = "application/json"
_PIECE = 1 << 16
_PEEKED_RECORDS = 100
_PEEKED_CHARACTERS = 1 << 20
_NEAR_END = 16
_SPACE = re.compile(r"[ \t\r\n]*")
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
_DECODER = json.JSONDecoder()


def is_lines(head: bytes, whole: bool) -> bool:
    """Tell whether a file is JSON lines: the first, or half of those at its beginning, are objects, or it is cut.

    Args:
        head: the beginning.
        whole: whether it is all of the file.
    """
    if not head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
        return False
    lines = [line for line in head.split(b"\n") if line.strip()]
    complete = lines if whole or head.endswith(b"\n") else lines[:-1]
    are_objects = [isinstance(parse_line(line), dict) for line in complete]
    return not complete or are_objects[0] or 2 * sum(are_objects) >= len(are_objects)


def is_array(head: bytes) -> bool:
    """Tell whether the beginning of a file is that of a list of objects."""
    return re.match(rb"\s*\[\s*(?:\{|\]\s*$)", head.removeprefix(codecs.BOM_UTF8)) is not None


def lines_table(content: Content) -> Table:
    """Return the records of a file of JSON lines."""
    return _table(LINES_MEDIA_TYPE, partial(_line_rows, content))


def array_table(content: Content) -> Table:
    """Return the records of a list of objects."""
    return _table(ARRAY_MEDIA_TYPE, partial(_array_rows, content))


def parse_line(line: bytes) -> Row | Refusal:
    """Return the object that a line holds, or why it holds none."""
    try:
        text = line.decode("utf-8-sig")
        found = json.loads(text)
    except UnicodeDecodeError as error:
        return Refusal("not_text", f"is not UTF-8: {error.reason} at byte {error.start}")
    except (ValueError, RecursionError) as error:
        return Refusal("damaged", f"is no JSON: {error}", line[:200].decode("utf-8", "replace"))
    return _object(found, text)


def _table(media_type: str, rows: Callable[[], Iterator[Row | Refusal]]) -> Table:
    return Table(media_type, _columns(rows()), False, lambda _: rows())


def _columns(rows: Iterator[Row | Refusal]) -> tuple[str, ...]:
    """Return the columns of the first records: each may leave out what it lacks.

    Raises:
        ItemError: the file is damaged before the first.
    """
    columns: dict[str, None] = {}
    num_characters = 0
    try:
        for row in islice(rows, _PEEKED_RECORDS):
            if isinstance(row, dict):
                columns.update(dict.fromkeys(row))
                num_characters += len(str(row))
            if num_characters > _PEEKED_CHARACTERS:
                break
    except ItemError:
        if not columns:
            raise
    return tuple(columns)


def _line_rows(content: Content) -> Iterator[Row | Refusal]:
    with open_stream(content) as file:
        for line in _lines(file):
            if isinstance(line, Refusal):
                yield line
            elif line.strip():
                yield parse_line(line)


def _lines(file: IO[bytes]) -> Iterator[bytes | Refusal]:
    while line := file.readline(LONGEST_BYTES + 1):
        if len(line) <= LONGEST_BYTES:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(_PIECE)
        yield _too_large()


def _array_rows(content: Content) -> Iterator[Row | Refusal]:
    with open_stream(content) as binary, io.TextIOWrapper(binary, "utf-8-sig") as file:
        window = _Window(file)
        try:
            for found, text in window.values():
                yield _object(found, text)
        except UnicodeDecodeError as error:
            raise ItemError("not_text", f"is not UTF-8: {error.reason}; save it as UTF-8") from error


@dataclass(slots=True)
class _Window:
    """The part of a text that is being looked at; it grows until it holds a whole value."""

    file: TextIO
    text: str = ""
    at: int = 0
    ended: bool = False

    def values(self) -> Iterator[tuple[Any, str]]:
        """Yield each value of the list with its own text.

        Raises:
            ItemError: the list is damaged here, or a value is too long; what follows is lost.
        """
        assert self._next() == "[", "see is_array"
        self.at += 1
        if self._next() != "]":
            yield self._value()
            while self._next() == ",":
                self.at += 1
                self._next()
                yield self._value()
        if self._next() != "]":
            raise ItemError("damaged", f"is a damaged JSON list: {self._found()} where , or ] is due")
        self.at += 1
        if self._next():
            raise ItemError("damaged", f"is a damaged JSON list: {self._found()} after its end")

    def _next(self) -> str:
        """Go to the next character that is no white space and return it; nothing at the end."""
        while True:
            space = _SPACE.match(self.text, self.at)
            assert space is not None, "it matches nothing, too"
            self.at = space.end()
            if self.at < len(self.text) or self.ended:
                return self.text[self.at : self.at + 1]
            self._grow()

    def _grow(self) -> None:
        """Let go of what lies behind, and look at twice as much ahead: each character is parsed twice on average."""
        ahead = self.text[self.at :]
        more = self.file.read(max(_PIECE, len(ahead)))
        self.text, self.at, self.ended = ahead + more, 0, not more

    def _value(self) -> tuple[Any, str]:
        while True:
            try:
                found, end = _DECODER.raw_decode(self.text, self.at)
            except RecursionError as error:
                raise ItemError("damaged", "is JSON with more levels than can be read") from error
            except json.JSONDecodeError as error:
                self._refuse_endless(error)
            else:
                if end < len(self.text) or self.ended:  # else it could be a number of which more follows
                    text = self.text[self.at : end]
                    self.at = end
                    return found, text
            self._grow()

    def _refuse_endless(self, error: json.JSONDecodeError) -> None:
        if self.ended:
            raise ItemError("damaged", f"is a damaged JSON list: {error.msg}") from error
        if len(self.text) - self.at > LONGEST_BYTES:
            is_open = error.pos > len(self.text) - _NEAR_END or error.msg.startswith("Unterminated string")
            refusal = _too_large() if is_open else Refusal("damaged", f"is a damaged JSON list: {error.msg}")
            raise ItemError(refusal.rule, refusal.reason) from error

    def _found(self) -> str:
        return repr(self.text[self.at : self.at + 20]) if self.at < len(self.text) else "its end"


def _object(found: object, text: str) -> Row | Refusal:
    if not isinstance(found, dict):
        return Refusal("damaged", f"is JSON, but no object: it is {_KINDS.get(type(found), 'null')}", text[:200])
    if _HALF_CHARACTER.search(text) is not None:
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = error.object[error.start]
            return Refusal("damaged", f"holds half of a character: \\u{ord(half):x} without the other half")
    return found


_KINDS = {list: "a list", str: "a string", int: "a number", float: "a number", bool: "true or false"}


def _too_large() -> Refusal:
    return Refusal("too_large", f"is one record of more than {LONGEST_BYTES:,} bytes")
