"""A folder of this machine as a place: walked in the order of its paths, and nothing is opened that could block."""

import os
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from forge_pipelines.errors import ConfigError
from forge_pipelines.sources.place import Item, ItemError, Refusal
from forge_pipelines.sources.places.config import Patterns
from forge_pipelines.sources.places.globs import compile_globs, compile_pruned

_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


class Folder:
    """The files of a folder that match its patterns.

    Hidden files and folders are skipped and counted; so are links that leave the folder, and links to folders (what
    they lead to within the folder is listed under its own path).

    Args:
        path: the folder.
        patterns: which of its files are meant.
        max_file_bytes: larger files are refused without being read; None where any size will do.
        setting: the field of the YAML that names the folder, for the sentences.

    Raises:
        ConfigError: there is no such folder, or it cannot be read.
    """

    def __init__(self, path: str, patterns: Patterns, max_file_bytes: int | None, setting: str = "folder.path") -> None:
        self._root = Path(path).expanduser().resolve()
        self._include = compile_globs(patterns.include)
        self._exclude = compile_globs(patterns.exclude)
        self._pruned = compile_pruned(patterns.exclude)
        self._max_file_bytes = max_file_bytes
        self.address = str(self._root)
        self.wanted = f"matches {', '.join(patterns.include)}"
        self.num_skipped_hidden = self.num_skipped_links = 0
        if not self._root.is_dir():
            raise ConfigError(f"the folder {self._root} does not exist; correct `{setting}` or create it")
        if not os.access(self._root, os.R_OK | os.X_OK):
            raise ConfigError(f"the folder {self._root} may not be read by this user; change its permissions")

    def expect(self) -> int | None:
        """See `Place.expect`: the folder is walked, no file is looked at."""
        return sum(1 for _ in self._paths())

    def items(self) -> Iterator[Item]:
        """See `Place.items`: sorted by path."""
        for path in self._paths():
            yield path if isinstance(path, Item) else self._item(path)

    def fetch(self, items: Sequence[Item]) -> Iterator[bytes | Path | Refusal]:
        """See `Place.fetch`."""
        for item in items:
            try:
                yield self._read(item.path)
            except ItemError as refused:
                yield refused.refusal

    def local(self, item: Item) -> Path:
        """Return where an item's file stands."""
        return self._root / item.path

    def _paths(self) -> Iterator[str | Item]:
        """Walk the folder; yield the path of each file, or a refused item where a folder cannot be read."""
        self.num_skipped_hidden = self.num_skipped_links = 0
        pending = [""]
        while pending:
            path = pending.pop()
            if path and not path.endswith("/"):
                yield path
                continue
            try:
                with os.scandir(self._root / path) as entries:
                    pending += sorted(self._sort_out(entries, path), reverse=True)
            except OSError as error:
                refusal = Refusal("unreadable", f"is a folder that cannot be read: {error.strerror}")
                yield Item(_as_text(path), refusal=refusal)

    def _sort_out(self, entries: Iterator[os.DirEntry[str]], folder: str) -> Iterator[str]:
        """Yield the paths of the files that are meant, and of folders, which end with a slash."""
        for entry in entries:
            path = folder + entry.name
            if entry.name.startswith("."):
                self.num_skipped_hidden += 1
            elif entry.is_symlink() and self._leads_away(entry.path):
                self.num_skipped_links += 1
            elif entry.is_dir(follow_symlinks=False):
                if not self._pruned.fullmatch(path):
                    yield path + "/"
            elif self._include.fullmatch(path) and not self._exclude.fullmatch(path):
                yield path

    def _leads_away(self, path: str) -> bool:
        target = Path(os.path.realpath(path))
        return target.is_dir() or not target.is_relative_to(self._root)

    def _item(self, path: str) -> Item:
        if path != _as_text(path):
            return Item(_as_text(path), refusal=Refusal("name", "has a name that is not UTF-8; rename it"))
        try:
            status = os.stat(f"{self._root}/{path}")  # noqa: PTH116 - making a Path takes longer than asking for its state
            _refuse_special(status)
            self._refuse_large(status.st_size)
        except OSError as error:
            return Item(path, refusal=Refusal("unreadable", f"cannot be read: {error.strerror}"))
        except ItemError as refused:
            return Item(path, refusal=refused.refusal)
        stamp = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
        return Item(path, stamp, status.st_size, _in_utc(status.st_mtime))

    def _read(self, path: str) -> bytes:
        try:
            # A pipe may have taken the file's place: without O_NONBLOCK it would hold us for ever.
            descriptor = os.open(self._root / path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
            with os.fdopen(descriptor, "rb") as file:
                before = os.fstat(descriptor)
                _refuse_special(before)
                self._refuse_large(before.st_size)
                content = file.read(before.st_size + 1)
                after = os.fstat(descriptor)
        except OSError as error:
            raise ItemError("unreadable", f"cannot be read: {error.strerror}") from error
        if len(content) != before.st_size or after.st_mtime_ns != before.st_mtime_ns:
            raise ItemError("changed", "changed while it was being read; it is read again at the next run")
        return content

    def _refuse_large(self, num_bytes: int) -> None:
        if self._max_file_bytes is not None and num_bytes > self._max_file_bytes:
            limit = self._max_file_bytes
            raise ItemError("too_large", f"has {num_bytes:,} bytes, more than max_file_bytes ({limit:,}) allows")


def _refuse_special(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a folder")
        raise ItemError("not_a_file", f"is {kind}, not a file")


def _as_text(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _in_utc(seconds: float) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError):  # a file system may hold any number; the calendar ends at the year 9999
        return None
