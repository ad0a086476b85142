"""A place without a disk or a network: what it holds is what a test says, and it notes what was fetched."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from forge_pipelines.sources.place import Item, Refusal

LONG_AGO = "2020-02-02T20:20:20+00:00"


@dataclass
class PlaceInMemory:
    """Contents by path; a stamp tells whether one was written since."""

    contents: dict[str, bytes | Refusal]
    address: str = "memory"
    wanted: str = "matches"
    num_skipped_hidden: int = 0
    num_skipped_links: int = 0
    fetched: list[str] = field(default_factory=list)
    stamps: dict[str, int] = field(default_factory=dict)
    modified_at: str | None = LONG_AGO

    def write(self, path: str, content: bytes | Refusal) -> None:
        self.contents[path] = content
        self.stamps[path] = self.stamps.get(path, 0) + 1

    def expect(self) -> int | None:
        return len(self.contents)

    def items(self) -> Iterator[Item]:
        for path in sorted(self.contents):
            yield Item(path, f"stamp {self.stamps.get(path, 0)}", None, self.modified_at)

    def fetch(self, items: Sequence[Item]) -> Iterator[bytes | Path | Refusal]:
        for item in items:
            self.fetched.append(item.path)
            yield self.contents[item.path]
