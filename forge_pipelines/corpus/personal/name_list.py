"""A plain list of names that a site brings: `names.txt`, UTF-8, one name a line."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from forge_pipelines.corpus.personal.findings import Found, Kind
from forge_pipelines.errors import ConfigError

NAMES_FILE = "names.txt"
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class ListedNames:
    """Finds the names of a list, as they are spelt there, between the boundaries of words.

    Attributes:
        by_first_word: the names that begin with each word, longest first.
    """

    by_first_word: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, names: Iterable[str]) -> "ListedNames":
        """Make it of names, each of one or more words."""
        grouped: dict[str, list[str]] = {}
        for name in sorted(set(names), key=lambda each: (-len(each), each)):
            if first := _WORD.match(name):
                grouped.setdefault(first[0], []).append(name)
        return cls({first: tuple(group) for first, group in grouped.items()})

    def find(self, text: str) -> Iterator[Found]:
        """Yield the names that stand in a text, the longest where several begin at one place."""
        for word in _WORD.finditer(text):
            for name in self.by_first_word.get(word[0], ()):
                stop = word.start() + len(name)
                if text.startswith(name, word.start()) and not _WORD.match(text, stop):
                    yield Found(Kind.NAME, word.start(), stop)
                    break


def hash_list(folder: Path) -> str:
    """Return the SHA-256 of a folder's list of names.

    Raises:
        ConfigError: it cannot be read.
    """
    return hashlib.sha256(_content(folder)).hexdigest()


def load_list(folder: Path) -> ListedNames:
    """Return what finds the names of a folder's list.

    Raises:
        ConfigError: the list cannot be read, is empty, or is not UTF-8.
    """
    return _parsed(_content(folder), folder / NAMES_FILE)


def _content(folder: Path) -> bytes:
    path = folder / NAMES_FILE
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror}); make it a file that this user may read"
        raise ConfigError(message) from error


@lru_cache(maxsize=4)
def _parsed(content: bytes, path: Path) -> ListedNames:
    try:
        names = [line.strip() for line in content.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8, one name a line") from error
    finder = ListedNames.of(names)
    if not finder.by_first_word:
        raise ConfigError(f"{path} has no name in it; write one name a line, or leave personal_data.names_model out")
    return finder
