"""A folder of this machine as a place: walked once, every file hashed, nothing opened that could block."""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from forge_pipelines.errors import ConfigError
from forge_pipelines.progress import OnProgress, Progress
from forge_pipelines.sources.config import FolderPlace
from forge_pipelines.sources.globs import compile_globs, compile_pruned
from forge_pipelines.sources.place import Item, ItemError, Listing, Refusal

_REPORT_EVERY_FILES = 200
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


@dataclass(slots=True)
class _Walk:
    files: list[str] = field(default_factory=list)
    refused: list[Item] = field(default_factory=list)
    skipped_hidden: int = 0
    skipped_links: int = 0


class Folder:
    """The files of a folder that match its patterns.

    Hidden files and folders are skipped and counted; so are links that leave the folder, and links to folders (what
    they lead to within the folder is listed under its own path).

    Args:
        max_file_bytes: larger files are refused without being read.

    Raises:
        ConfigError: there is no such folder, or it cannot be read.
    """

    def __init__(self, config: FolderPlace, max_file_bytes: int) -> None:
        self._root = Path(config.path).expanduser().resolve()
        self._include = compile_globs(config.include)
        self._exclude = compile_globs(config.exclude)
        self._pruned = compile_pruned(config.exclude)
        self._max_file_bytes = max_file_bytes
        self.address = str(self._root)
        if not self._root.is_dir():
            raise ConfigError(f"the folder {self._root} does not exist; correct `folder.path` or create it")
        if not os.access(self._root, os.R_OK | os.X_OK):
            raise ConfigError(f"the folder {self._root} may not be read by this user; change its permissions")

    def list_items(self, on_progress: OnProgress) -> Listing:
        """See `Place.list_items`."""
        walk = self._walk()
        items = walk.refused
        for done, path in enumerate(sorted(walk.files), 1):
            items.append(self._item(path))
            if done % _REPORT_EVERY_FILES == 0 or done == len(walk.files):
                on_progress(Progress("listing", done, len(walk.files), "files"))
        return Listing(tuple(sorted(items, key=lambda item: item.path)), walk.skipped_hidden, walk.skipped_links)

    def read(self, item: Item) -> bytes:
        """See `Place.read`.

        Raises:
            ItemError: the file cannot be read, or is another by now.
        """
        content, _ = self._read(item.path)
        if hashlib.sha256(content).hexdigest() != item.sha256:
            raise ItemError("changed", "changed while it was being read; it is read again at the next run")
        return content

    def _walk(self) -> _Walk:
        walk = _Walk()
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(self._root / folder) as entries:
                    folders.extend(self._sort_out(entries, folder, walk))
            except OSError as error:
                refusal = Refusal("unreadable", f"is a folder that cannot be read: {error.strerror}")
                walk.refused.append(Item(_as_text(folder), refusal=refusal))
        return walk

    def _sort_out(self, entries: Iterator[os.DirEntry[str]], folder: str, walk: _Walk) -> Iterator[str]:
        for entry in entries:
            path = folder + entry.name
            if entry.name.startswith("."):
                walk.skipped_hidden += 1
            elif entry.is_symlink() and self._leads_away(entry.path):
                walk.skipped_links += 1
            elif entry.is_dir(follow_symlinks=False):
                if not self._pruned.fullmatch(path):
                    yield path + "/"
            elif self._include.fullmatch(path) and not self._exclude.fullmatch(path):
                walk.files.append(path)

    def _leads_away(self, path: str) -> bool:
        target = Path(os.path.realpath(path))
        return target.is_dir() or not target.is_relative_to(self._root)

    def _item(self, path: str) -> Item:
        if path != _as_text(path):
            return Item(_as_text(path), refusal=Refusal("name", "has a name that is not UTF-8; rename it"))
        try:
            content, modified_at = self._read(path)
        except ItemError as refused:
            return Item(path, refusal=refused.refusal)
        return Item(path, hashlib.sha256(content).hexdigest(), modified_at)

    def _read(self, path: str) -> tuple[bytes, str | None]:
        try:
            full_path = self._root / path
            _refuse_special(full_path.stat())
            # Between the two looks a pipe may take the file's place: without O_NONBLOCK it would hold us for ever.
            descriptor = os.open(full_path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                _refuse_special(status)
                self._refuse_large(status.st_size)
                content = file.read(status.st_size + 1)
        except OSError as error:
            raise ItemError("unreadable", f"cannot be read: {error.strerror}") from error
        if len(content) > status.st_size:
            raise ItemError("changed", "grew while it was being read; it is read again at the next run")
        return content, _in_utc(status.st_mtime)

    def _refuse_large(self, num_bytes: int) -> None:
        if num_bytes > self._max_file_bytes:
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
