"""From a tree of elements to Markdown: one walk for every markup language, whose `Vocabulary` says what names mean."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers import markdown

Element = Any
_BREAK = "\v"


class Role(Enum):
    """What an element is to a reader of the text. One without a role is transparent: its content flows on."""

    SECTION = auto()
    TITLE = auto()
    PARAGRAPH = auto()
    QUOTE = auto()
    LIST = auto()
    NUMBERED = auto()
    ITEM = auto()
    TERM = auto()
    CODE = auto()
    LITERAL = auto()
    ASIDE = auto()
    TABLE = auto()
    ROW = auto()
    CELL = auto()
    BREAK = auto()
    SPACE = auto()
    SKIPPED = auto()


_INLINE = (Role.LITERAL, Role.ASIDE, Role.BREAK, Role.SPACE)
_NOT_IN_CELLS = (Role.TABLE, Role.TITLE, Role.LIST, Role.NUMBERED, Role.CODE)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The names of a markup language.

    Attributes:
        roles: of each element by its name without namespace.
        level: the level of a title, from its element and the number of sections around it.
    """

    roles: Mapping[str, Role]
    level: Callable[[Element, int], int] = lambda _, depth: depth

    def role(self, element: Element) -> Role | None:
        """Return what the element is; comments and instructions are skipped."""
        return self.roles.get(local_name(element)) if isinstance(element.tag, str) else Role.SKIPPED

    def markdown(self, root: Element) -> str:
        """Return the text of all that the element holds.

        Raises:
            ItemError: elements stand in one another too deeply.
        """
        try:
            return markdown.join(_blocks(self, root, 0))
        except RecursionError as error:
            raise ItemError("too_deep", "nests elements more deeply than can be read") from error


def local_name(element: Element) -> str:
    """Return the element's name without its namespace."""
    name: str = element.tag
    return name.rpartition("}")[2]


def _blocks(words: Vocabulary, element: Element, depth: int) -> list[str]:
    return _Walk(words).blocks_in(element, depth)


def _flat(words: Vocabulary, element: Element, depth: int) -> str:
    return markdown.one_line(" ".join(_blocks(words, element, depth)))


class _Walk:
    def __init__(self, words: Vocabulary) -> None:
        self._words = words
        self._blocks: list[str] = []
        self._line: list[str] = []

    def blocks_in(self, element: Element, depth: int) -> list[str]:
        self._inside(element, depth)
        self._end_paragraph()
        return self._blocks

    def _inside(self, element: Element, depth: int) -> None:
        self._line.append(element.text or "")
        for child in element:
            role = self._words.role(child)
            if role is None:
                self._inside(child, depth)
            elif role in _INLINE:
                self._line.append(_inline(self._words, child, role, depth))
            elif role is not Role.SKIPPED:
                self._end_paragraph()
                self._blocks += _RENDERERS[role](self._words, child, depth)
            self._line.append(child.tail or "")

    def _end_paragraph(self) -> None:
        lines = (markdown.one_line(line) for line in "".join(self._line).split(_BREAK))
        self._line.clear()
        if text := "\n".join(line for line in lines if line):
            self._blocks.append(text)


def _inline(words: Vocabulary, element: Element, role: Role, depth: int) -> str:
    if role is Role.BREAK:
        return _BREAK
    if role is Role.SPACE:
        return " "
    text = _flat(words, element, depth)
    return text and (f"`{text}`" if role is Role.LITERAL else f" ({text})")


def _section(words: Vocabulary, element: Element, depth: int) -> list[str]:
    return _blocks(words, element, depth + 1)


def _title(words: Vocabulary, element: Element, depth: int) -> list[str]:
    text = _flat(words, element, depth)
    return [markdown.heading(words.level(element, depth), text)] if text else []


def _term(words: Vocabulary, element: Element, depth: int) -> list[str]:
    text = _flat(words, element, depth)
    return [f"**{text}**"] if text else []


def _quote(words: Vocabulary, element: Element, depth: int) -> list[str]:
    text = markdown.join(_blocks(words, element, depth))
    return ["\n".join(f"> {line}".rstrip() for line in text.split("\n"))] if text else []


def _code(_: Vocabulary, element: Element, __: int) -> list[str]:
    text = "".join(element.itertext())
    return [markdown.fence(text, element.get("language", ""))] if text.strip() else []


def _list(words: Vocabulary, element: Element, depth: int) -> list[str]:
    numbered = words.role(element) is Role.NUMBERED
    head = [block for child in element if words.role(child) is Role.TITLE for block in _term(words, child, depth)]
    items = (child for child in element if words.role(child) not in (Role.TITLE, Role.SKIPPED))
    texts = [text for text in (_item_text(words, child, depth) for child in items) if text]
    lines = [markdown.item(text, 0, f"{number}." if numbered else "-") for number, text in enumerate(texts, 1)]
    return [*head, "\n".join(lines)] if lines else head


def _item_text(words: Vocabulary, element: Element, depth: int) -> str:
    blocks = _list(words, element, depth) if words.role(element) in (Role.LIST, Role.NUMBERED) else None
    first, *others = blocks or _blocks(words, element, depth) or [""]
    return first + "".join(("\n" if block.startswith(("- ", "1. ")) else "\n\n") + block for block in others)


def _table(words: Vocabulary, element: Element, depth: int) -> list[str]:
    rows = [list(_parts(words, row, Role.CELL)) for row in _parts(words, element, Role.ROW)]
    cells = [cell for row in rows for cell in row]
    if max((len(row) for row in rows), default=0) < 2 or any(_is_layout(words, cell) for cell in cells):
        return _blocks(words, element, depth)
    heads = [block for child in element if words.role(child) is Role.TITLE for block in _term(words, child, depth)]
    return [*heads, markdown.table([_flat(words, cell, depth) for cell in row] for row in rows)]


def _parts(words: Vocabulary, element: Element, role: Role) -> Iterator[Element]:
    for child in element:
        found = words.role(child)
        if found is role:
            yield child
        elif found is None:
            yield from _parts(words, child, role)


def _is_layout(words: Vocabulary, cell: Element) -> bool:
    return any(words.role(inner) in _NOT_IN_CELLS for inner in cell.iterdescendants())


_RENDERERS: dict[Role, Callable[[Vocabulary, Element, int], list[str]]] = {
    Role.SECTION: _section,
    Role.TITLE: _title,
    Role.PARAGRAPH: _blocks,
    Role.QUOTE: _quote,
    Role.LIST: _list,
    Role.NUMBERED: _list,
    Role.ITEM: _blocks,
    Role.TERM: _term,
    Role.CODE: _code,
    Role.TABLE: _table,
    Role.ROW: _blocks,
    Role.CELL: _blocks,
}
