"""Names of persons, through whatever an operator supplies: one interface, and a plain list of names behind it."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from forge_pipelines.corpus.personal.findings import Found, Kind
from forge_pipelines.errors import ConfigError

NAMES_FILE = "names.txt"
_WORD = re.compile(r"[^\W\d_]+")


class NameFinder(Protocol):
    """What finds names: a list of them, or a model that a site brings."""

    def find(self, text: str) -> Iterable[Found]:
        """Yield findings of `Kind.NAME`."""


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


def names_version(folder: Path) -> str:
    """Return the SHA-256 of the folder's list of names: it belongs to the code version of what is made with it.

    Raises:
        ConfigError: the folder has no list.
    """
    return hashlib.sha256(_content(folder)).hexdigest()


def load_names(folder: Path) -> NameFinder:
    """Return what finds the names of an operator's folder, which holds `names.txt`: UTF-8, one name a line.

    Raises:
        ConfigError: the folder has no list, or the list is empty or not UTF-8.
    """
    return _parsed(_content(folder), folder / NAMES_FILE)


def _content(folder: Path) -> bytes:
    path = folder / NAMES_FILE
    try:
        return path.read_bytes()
    except OSError as error:
        message = (
            f"{path} cannot be read ({error.strerror}); personal_data.names_model names a folder with this list in it"
        )
        raise ConfigError(message) from error


@lru_cache(maxsize=4)
def _parsed(content: bytes, path: Path) -> NameFinder:
    try:
        names = [line.strip() for line in content.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8, one name a line") from error
    finder = ListedNames.of(names)
    if not finder.by_first_word:
        raise ConfigError(f"{path} has no name in it; write one name a line, or leave personal_data.names_model out")
    return finder
