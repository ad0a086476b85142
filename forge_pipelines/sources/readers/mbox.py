"""Mailboxes that are one file (mbox): each mail from its line `From ` to the next. Held a mail at a time."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from forge_pipelines.sources.readers.reading import Contents, Member

_HEADER = re.compile(rb"[!-9;-~]{1,80}:")
_KNOWN = re.compile(
    rb"^(?:from|to|date|subject|message-id|received|return-path|x-mozilla-status|x-gm-thrid|mime-version)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_MESSAGE_ID = re.compile(rb"^message-id[ \t]*:(?:[ \t]|\r?\n[ \t])*<?([^<>\s]{1,500})", re.IGNORECASE | re.MULTILINE)
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")
_QUOTED = re.compile(rb">+From ")
_SEPARATOR = b"From "
_PIECE = 1 << 16
_KEPT_OF_LARGE = 1 << 16


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail of a mailbox: the key that names it there, its size, and its bytes unless it is too large."""

    key: str
    num_bytes: int
    content: bytes | None


def accepts(head: bytes) -> bool:
    """Accept what begins with a line `From ` and headers, of which one is mail's."""
    if not head.startswith(_SEPARATOR):
        return False
    _, _, rest = head.partition(b"\n")
    headers = _END_OF_HEADERS.split(rest, maxsplit=1)[0]
    return _HEADER.match(headers) is not None and _KNOWN.search(headers) is not None


def read(content: bytes) -> Contents:
    """Return the mails, each a file within the mailbox under its Message-ID, or its number where it has none."""
    mails = split(io.BytesIO(content), most_bytes=len(content))
    return Contents(None, (Member(f"!/{mail.key}", _Load(mail)) for mail in mails))


def split(file: IO[bytes], most_bytes: int) -> Iterator[Mail]:
    """Yield the mails of a mailbox, in their order; each key once.

    A line `From ` begins a mail after an empty line where a header follows it: letters begin so, too. Before `From `,
    one `>` is taken away: it was put there when the mailbox was written (`mboxrd`_).

    Args:
        file: the mailbox.
        most_bytes: larger mails are passed over as they are read, and have no content.

    .. _mboxrd: https://www.loc.gov/preservation/digital/formats/fdd/fdd000385.shtml
    """
    mail: _Growing | None = None
    seen: set[str] = set()
    number = 0
    for line, begins in _lines(file):
        if begins:
            if mail is not None:
                yield mail.done(number, seen)
            number += 1
            mail = _Growing(most_bytes)
        elif mail is not None:
            mail.add(line)
    if mail is not None:
        yield mail.done(number, seen)


@dataclass(slots=True)
class _Growing:
    most_bytes: int
    num_bytes: int = 0
    content: bytearray = field(default_factory=bytearray)

    def add(self, line: bytes) -> None:
        self.num_bytes += len(line)
        if self.num_bytes <= self.most_bytes or len(self.content) < _KEPT_OF_LARGE:
            self.content += line
        elif len(self.content) > _KEPT_OF_LARGE:
            del self.content[_KEPT_OF_LARGE:]

    def done(self, number: int, seen: set[str]) -> Mail:
        """Return the mail, without the empty line that parts it from the next."""
        blank = next((end for end in (b"\r\n\r\n", b"\n\n") if self.content.endswith(end)), b"")
        num_bytes = self.num_bytes - len(blank) // 2
        key = _unique(_message_id(self.content) or str(number), seen)
        if num_bytes > self.most_bytes:
            return Mail(key, num_bytes, None)
        return Mail(key, num_bytes, bytes(memoryview(self.content)[:num_bytes]))


@dataclass(frozen=True, slots=True)
class _Load:
    mail: Mail

    def __call__(self) -> bytes:
        assert self.mail.content is not None, "no mail is larger than its mailbox"
        return self.mail.content


def _lines(file: IO[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield lines (very long ones in pieces), unquoted, and whether each is one that begins a mail."""
    is_start, after_blank = True, True
    line = file.readline(_PIECE)
    while line:
        following = file.readline(_PIECE)
        begins = is_start and after_blank and line.startswith(_SEPARATOR) and _HEADER.match(following) is not None
        yield line[1:] if is_start and _QUOTED.match(line) else line, begins
        after_blank = is_start and not line.strip(b"\r\n")
        is_start = line.endswith(b"\n")
        line = following


def _message_id(content: bytearray) -> str | None:
    end = _END_OF_HEADERS.search(content)
    found = _MESSAGE_ID.search(content, 0, end.start() if end else len(content))
    return found[1].decode("utf-8", "backslashreplace").replace("\0", "\\0") if found else None


def _unique(key: str, seen: set[str]) -> str:
    number, unique = 1, key
    while unique in seen:
        number += 1
        unique = f"{key}~{number}"
    seen.add(unique)
    return unique
