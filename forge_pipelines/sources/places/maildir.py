"""A maildir as a place: one file a mail, in `new` until somebody has seen it and in `cur` from then on."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from forge_pipelines.sources.place import Item, Refusal
from forge_pipelines.sources.places.config import Patterns
from forge_pipelines.sources.places.folder import Folder

_NEW_THEN_CUR = ("new", "cur")
_FLAGS = ":2,"


def is_maildir(path: Path) -> bool:
    """Tell whether a folder is a maildir."""
    return all((path / part).is_dir() for part in _NEW_THEN_CUR)


class Maildir:
    """The mails of a maildir and of its subfolders, such as `.Sent` (Maildir++).

    A mail's path is its unique name, without the flags behind it: whoever reads, answers or moves it from `new` to
    `cur` leaves it the mail that it was. What is still being delivered (`tmp`) is not looked at.

    Args:
        root: the maildir.
        max_file_bytes: larger mails are refused without being read.
        setting: the field of the YAML that names it, for the sentences.
    """

    def __init__(self, root: Path, max_file_bytes: int, setting: str) -> None:
        self._root = root
        self._max_file_bytes = max_file_bytes
        self._setting = setting
        self._where: dict[str, tuple[Folder, str]] = {}
        self.address = str(root)
        self.wanted = "is a mail"
        self.num_skipped_hidden = self.num_skipped_links = 0

    def expect(self) -> int | None:
        """See `Place.expect`: the folders are listed, no mail is looked at."""
        return sum(self._part(folder, part).expect() or 0 for folder in self._folders() for part in _NEW_THEN_CUR)

    def items(self) -> Iterator[Item]:
        """See `Place.items`: sorted by folder, then by unique name."""
        self.num_skipped_hidden = self.num_skipped_links = 0
        for folder in self._folders():
            yield from self._mails(folder)

    def fetch(self, items: Sequence[Item]) -> Iterator[bytes | Path | Refusal]:
        """See `Place.fetch`: a mail that was moved or marked since it was listed is found again."""
        looked_again = False
        for item in items:
            content = self._fetch(item.path)
            if isinstance(content, Refusal) and content.rule == "unreadable":
                if not looked_again:
                    self._look_again()
                    looked_again = True
                content = self._fetch(item.path)
            yield content

    def _fetch(self, path: str) -> bytes | Path | Refusal:
        if path not in self._where:
            return Refusal("unreadable", "cannot be read: it is no longer there")
        folder, name = self._where[path]
        return next(folder.fetch([Item(name)]))

    def _look_again(self) -> None:
        skipped = self.num_skipped_hidden, self.num_skipped_links
        self._where = {}
        for _ in self.items():
            pass
        self.num_skipped_hidden, self.num_skipped_links = skipped

    def _folders(self) -> list[Path]:
        inner = sorted(path for path in self._root.glob(".*") if not path.is_symlink() and is_maildir(path))
        return [self._root, *inner]

    def _part(self, folder: Path, part: str) -> Folder:
        return Folder(str(folder / part), Patterns(), self._max_file_bytes, self._setting)

    def _mails(self, folder: Path) -> Iterator[Item]:
        prefix = "" if folder == self._root else f"{folder.name}/"
        found: dict[str, tuple[Folder, Item]] = {}
        for part in _NEW_THEN_CUR:  # in this order a mail that is moved meanwhile is seen at least once
            place = self._part(folder, part)
            for item in place.items():
                found[prefix + item.path.rpartition("/")[2].partition(_FLAGS)[0]] = place, item
            self.num_skipped_hidden += place.num_skipped_hidden
            self.num_skipped_links += place.num_skipped_links
        for path, (place, item) in sorted(found.items(), key=lambda each: each[0]):
            self._where[path] = place, item.path
            yield replace(item, path=path)
