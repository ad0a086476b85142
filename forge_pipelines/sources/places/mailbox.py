"""Mail of this machine as a place: an mbox file, a maildir, or a folder of mails and mbox files."""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from forge_pipelines.errors import ConfigError
from forge_pipelines.sources.place import Item, Place, Refusal
from forge_pipelines.sources.places.config import MailboxPlace, Patterns
from forge_pipelines.sources.places.folder import Folder
from forge_pipelines.sources.places.maildir import Maildir, is_maildir
from forge_pipelines.sources.readers import mbox

_SETTING = "mailbox.path"
_HEAD_BYTES = 16 << 10


class Mailbox:
    """The mails of an mbox file, of a maildir, or of a folder with files of both kinds: .eml and mbox.

    Args:
        config: where they stand.
        max_file_bytes: larger mails are refused without being held.

    Raises:
        ConfigError: there is no mailbox, or it may not be read.
    """

    def __init__(self, config: MailboxPlace, max_file_bytes: int) -> None:
        self._place = _opened(Path(config.path).expanduser().resolve(), max_file_bytes)
        self.address = self._place.address
        self.wanted = "is a mail"
        self.num_skipped_hidden = self.num_skipped_links = 0

    def expect(self) -> int | None:
        """See `Place.expect`: None where mbox files must be read to tell."""
        return self._place.expect()

    def items(self) -> Iterator[Item]:
        """See `Place.items`: the mails of an mbox file in its order, all others by their paths."""
        yield from self._place.items()
        self.num_skipped_hidden = self._place.num_skipped_hidden
        self.num_skipped_links = self._place.num_skipped_links

    def fetch(self, items: Sequence[Item]) -> Iterator[bytes | Path | Refusal]:
        """See `Place.fetch`. Mails of mbox files come with their items."""
        for item in items:
            yield from [item.content] if item.content is not None else self._place.fetch([item])


def _opened(path: Path, max_file_bytes: int) -> Place:
    if not path.exists():
        raise ConfigError(f"the mailbox {path} does not exist; correct `{_SETTING}`")
    if path.is_dir():
        return Maildir(path, max_file_bytes, _SETTING) if is_maildir(path) else _MailFolder(path, max_file_bytes)
    if not path.is_file() or not os.access(path, os.R_OK):
        raise ConfigError(f"the mailbox {path} cannot be read by this user; correct `{_SETTING}` or its permissions")
    if path.stat().st_size and not _is_mbox(path):
        raise ConfigError(f"the file {path} is no mailbox: it begins with no line «From »; correct `{_SETTING}`")
    return _MboxFile(path, max_file_bytes)


class _MboxFile:
    def __init__(self, path: Path, max_file_bytes: int) -> None:
        self._path = path
        self._max_file_bytes = max_file_bytes
        self.address = str(path)
        self.wanted = "is a mail"
        self.num_skipped_hidden = self.num_skipped_links = 0

    def expect(self) -> int | None:
        return None

    def items(self) -> Iterator[Item]:
        yield from _mails(self._path, self._path.name, self._max_file_bytes)

    def fetch(self, items: Sequence[Item]) -> Iterator[bytes | Path | Refusal]:
        assert not items, "its mails come with their items"
        yield from ()


class _MailFolder(Folder):
    def __init__(self, path: Path, max_file_bytes: int) -> None:
        super().__init__(str(path), Patterns(), max_file_bytes, _SETTING)
        self._most_bytes = max_file_bytes

    def expect(self) -> int | None:
        return None

    def items(self) -> Iterator[Item]:
        for item in super().items():
            # An mbox file may be larger than any mail.
            is_file = item.refusal is None or item.refusal.rule == "too_large"
            if is_file and _is_mbox(self.local(item)):
                yield from _mails(self.local(item), item.path, self._most_bytes)
            else:
                yield item


def _mails(path: Path, name: str, most_bytes: int) -> Iterator[Item]:
    """Yield the mails of an mbox file, each with its content."""
    try:
        with _open(path) as file:
            modified_at = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC).isoformat(timespec="seconds")
            for mail in mbox.split(file, most_bytes):
                where = f"{name}#{mail.key}"
                if mail.content is None:
                    reason = f"has {mail.num_bytes:,} bytes, more than max_file_bytes ({most_bytes:,}) allows"
                    yield Item(where, "", mail.num_bytes, modified_at, refusal=Refusal("too_large", reason))
                else:
                    yield Item(where, "", mail.num_bytes, modified_at, mail.content)
    except OSError as error:
        yield Item(name, refusal=Refusal("unreadable", f"cannot be read: {error.strerror}"))


def _is_mbox(path: Path) -> bool:
    try:
        with _open(path) as file:
            return mbox.accepts(file.read(_HEAD_BYTES))
    except OSError:  # it is refused as unreadable when it is fetched
        return False


def _open(path: Path) -> IO[bytes]:
    # A pipe may have taken the file's place: without O_NONBLOCK it would hold us for ever.
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY), "rb")
