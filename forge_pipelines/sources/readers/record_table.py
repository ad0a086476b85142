"""What every file of records is, whatever its format: columns, and rows that are found one by one."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from forge_pipelines.sources.place import ItemError, Refusal

Row = dict[str, Any]
"""A record: its values by their columns, in the columns' order."""

_MOST_NAMED = 20
_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Table:
    """A file of records.

    Attributes:
        media_type: the file's.
        columns: the columns' names; of JSON, those of the first records.
        are_all: whether every record has these columns and no others.
        rows: gives the records from the first on, each a row or why it is none; of the columns it is given, where
            the format can pass over the others, or of all for None. Raises `ItemError` where the rest is lost.
    """

    media_type: str
    columns: tuple[str, ...]
    are_all: bool
    rows: Callable[[Collection[str] | None], Iterator[Row | Refusal]]


class NoShapeError(ItemError):
    """A record lacks the columns that its kind needs; which it has is said where all of them are known."""

    def __init__(self, reason: str) -> None:
        super().__init__("shape", reason)


def names_of(columns: Collection[str]) -> str:
    """Return columns in words, for a sentence."""
    names = [column[:_LONGEST_NAME] for column in columns][:_MOST_NAMED]
    more = f" and {len(columns) - len(names)} more" if len(columns) > len(names) else ""
    return (", ".join(names) or "none") + more
