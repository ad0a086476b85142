"""What a place hands over: a listing of items, then the bytes of each. Each kind of place is a file beside this one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from forge_pipelines.manifest import digest
from forge_pipelines.progress import OnProgress


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
        sha256: of its bytes; empty when it could not be read.
        modified_at: when it was last changed, ISO 8601 in UTC, or None where that is not known.
        refusal: why it can be no document, when the listing knows that already.
    """

    path: str
    sha256: str = ""
    modified_at: str | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """What a place holds, sorted by path, and how much of it was left out by rule."""

    items: tuple[Item, ...]
    skipped_hidden: int = 0
    skipped_links: int = 0

    @property
    def fingerprint(self) -> str:
        """SHA-256 over every item's path and content (or the reason why it has none), wherever the place is."""
        return digest(
            [(item.path, item.sha256 or (item.refusal.reason if item.refusal else "")) for item in self.items]
        )

    def refusing(self, refusals: Mapping[str, Refusal]) -> "Listing":
        """Return this listing with the items at the given paths refused."""
        items = (
            replace(item, sha256="", refusal=refusals[item.path]) if item.path in refusals else item
            for item in self.items
        )
        return replace(self, items=tuple(items))


class Place(Protocol):
    """Somewhere that documents come from."""

    address: str

    def list_items(self, on_progress: OnProgress) -> Listing:
        """Return everything that the place holds for this source."""

    def read(self, item: Item) -> bytes:
        """Return the bytes that were listed.

        Raises:
            ItemError: they cannot be read, or are others by now.
        """
