"""What a place hands over: items in a steady order, then the contents of some. Each kind is a file in `places/`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an item does not become a document: the rule, a reason in words, and at most 200 characters of it."""

    rule: str
    reason: str
    excerpt: str = ""


class ItemError(Exception):
    """One item cannot become a document. It is recorded as a `Rejection`, and the others go on."""

    def __init__(self, rule: str, reason: str, excerpt: str = "") -> None:
        super().__init__(reason)
        self.refusal = Refusal(rule, reason, excerpt[:200])


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a place holds.

    Attributes:
        path: where it is within its place, with ``/``; the document's ``uri``.
        stamp: what changes whenever the content does (size and times, an ETag); empty where the place tells nothing
            of the kind, and the content must be looked at.
        num_bytes: its size, where that is known before it is fetched.
        modified_at: when it was last changed, ISO 8601 in UTC, or None where that is not known.
        content: its bytes, where the place cannot list it without them.
        refusal: why it can be no document, when the listing knows that already.
    """

    path: str
    stamp: str = ""
    num_bytes: int | None = None
    modified_at: str | None = None
    content: bytes | None = None
    refusal: Refusal | None = None


class Place(Protocol):
    """Somewhere that documents come from.

    Attributes:
        address: what people call it; without credentials.
        wanted: what of it is read, as the end of «nothing in it …», such as ``matches **/*.md``.
        num_skipped_hidden: hidden files that the last listing passed over.
        num_skipped_links: links that it passed over.
    """

    address: str
    wanted: str
    num_skipped_hidden: int
    num_skipped_links: int

    def expect(self) -> int | None:
        """Return about how many items there are; None where telling costs as much as listing them."""

    def items(self) -> Iterator[Item]:
        """Yield everything that the place holds for this source, each path once, in the same order every time.

        Raises:
            ConfigError: there is no such place, or it may not be entered.
            DataError: what it holds cannot be told apart.
            PlatformError: it does not answer, after some tries.
        """

    def fetch(self, items: Sequence[Item]) -> Iterator[bytes | Path | Refusal]:
        """Yield the content of each of some items, in their order; a refusal where it cannot be had.

        Raises:
            PlatformError: the place does not answer, after some tries.
        """
