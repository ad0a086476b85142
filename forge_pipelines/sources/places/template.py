"""A document's text, put together from the columns of a row: names in braces, between text."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[^{}]+|[{}]")
_NO_NAME = re.compile(r"[.\[\]!:]|^\s|\s$|^$")


@dataclass(frozen=True, slots=True)
class Template:
    """A text with gaps.

    Attributes:
        pieces: in their order, texts and names of columns: a piece at an odd place is a name.
    """

    pieces: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names, each once."""
        return tuple(dict.fromkeys(self.pieces[1::2]))

    @property
    def only(self) -> str | None:
        """The column that it is nothing but, if it is."""
        return self.pieces[1] if len(self.pieces) == 3 and not self.pieces[0] and not self.pieces[2] else None

    def render(self, row: Mapping[str, object]) -> str:
        """Return the text of a row.

        Args:
            row: a value for each of the columns. None is an empty text; what is no text is written as people write it,
                and lists and mappings as JSON.

        Raises:
            KeyError: it has no such column.
            TypeError: a column holds bytes.
        """
        return "".join(_written(row[piece]) if at % 2 else piece for at, piece in enumerate(self.pieces))


def compile_template(text: str) -> Template:
    """Read a text with columns in braces, such as ``{title}: {body}``; ``{{`` and ``}}`` are braces themselves.

    Raises:
        ValueError: a brace has no partner, what stands in braces is no plain name, or there is no column at all.
    """
    pieces = [""]
    for kind, piece in _tokens(text):
        if kind == "name":
            pieces += [piece, ""]
        else:
            pieces[-1] += piece
    if len(pieces) == 1:
        raise ValueError(f"the text {text!r} names no column: write one in braces, such as {{body}}")
    return Template(tuple(pieces))


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(text):
        token, name = match[0], match[1]
        if name is not None:
            if _NO_NAME.search(name):
                raise ValueError(f"{token!r} in {text!r} is no plain column in braces, such as {{body}}")
            yield "name", name
        elif token in {"{", "}"}:
            raise ValueError(f"a brace in {text!r} has no partner: a brace itself is written twice")
        else:
            yield "text", {"{{": "{", "}}": "}"}.get(token, token)


def _written(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case bytes() | bytearray() | memoryview():
            raise TypeError("bytes are no text")
        case date():
            return value.isoformat()
        case list() | dict():
            return json.dumps(value, ensure_ascii=False, default=str)
        case _:
            return str(value)
