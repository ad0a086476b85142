"""What is searched: real documents of this machine, some of them once more with so many words changed."""

import json
import random
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NUM_DOCUMENTS = 8800
NUM_PLANTED = 800
LEAST, MOST = 0.5, 0.95
"""Jaccard similarities of the planted copies to their originals, evenly between."""

ROOTS = (Path(__file__).parents[2] / ".venv/lib/python3.11/site-packages", Path("/usr/share/doc"))
PROSE_CHARACTERS, CODE_CHARACTERS = (500, 100_000), (500, 6000)

_MARKS = "".join(map(chr, filter(lambda code: unicodedata.category(chr(code))[0] == "M", range(0x20000))))
_WORD = re.compile(rf"(?:[^\W_]|[{re.escape(_MARKS)}])+")
_NUM_WORDS = 5
_LEAST_WORDS = 100
_SEED = 6


@dataclass(frozen=True, slots=True)
class Text:
    """One document; a planted one knows its original, and how alike they are."""

    name: str
    text: str
    original: str | None = None
    jaccard: float | None = None


def documents(number: int) -> list[Text]:
    """Return so many documents of different texts: prose first, Python sources where it ends; planted copies last."""
    dice = random.Random(_SEED)
    num_planted = number * NUM_PLANTED // NUM_DOCUMENTS
    real = [Text(str(path), text) for path, text in _distinct(number - num_planted)]
    long = [each for each in real if each.text.isascii() and len(_WORD.findall(each.text)) >= _LEAST_WORDS]
    return [*real, *(_planted(each, dice) for each in dice.sample(long, num_planted))]


def shingle_set(text: str) -> set[tuple[str, ...]]:
    """Return the five-word shingles of a text with spaces, in plain Python: what both sides are judged by."""
    words = _WORD.findall(text.casefold())
    return {tuple(words[start : start + _NUM_WORDS]) for start in range(max(1, len(words) - _NUM_WORDS + 1))}


def jaccard(one: str, other: str) -> float:
    first, second = shingle_set(one), shingle_set(other)
    return len(first & second) / len(first | second)


def write(texts: list[Text], path: Path) -> None:
    path.write_text("".join(json.dumps({"name": each.name, "text": each.text}) + "\n" for each in texts))


def _distinct(number: int) -> Iterator[tuple[Path, str]]:
    seen: set[str] = set()
    for path, bounds in _files():
        text = path.read_bytes().decode("utf-8", "replace")
        if bounds[0] <= len(text) <= bounds[1] and text not in seen:
            seen.add(text)
            yield path, text
        if len(seen) == number:
            return


def _files() -> Iterator[tuple[Path, tuple[int, int]]]:
    found = [path for root in ROOTS for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()]
    for path in found:
        if path.suffix in {".md", ".rst", ".txt"} or path.name in {"METADATA", "copyright"}:
            yield path, PROSE_CHARACTERS
    for path in found:
        if path.suffix == ".py":
            yield path, CODE_CHARACTERS


def _planted(original: Text, dice: random.Random) -> Text:
    aim = dice.uniform(LEAST, MOST)
    spans = [match.span() for match in _WORD.finditer(original.text)]
    num_edits = max(1, round(len(spans) * (1 - aim) / (_NUM_WORDS * (1 + aim))))
    changed, end = [], 0
    for place in sorted(dice.sample(range(2, len(spans) - 2, _NUM_WORDS), num_edits)):
        start, after = spans[place]
        changed += [original.text[end:start], f"edit{dice.randrange(10**9)}"]
        end = after
    text = "".join([*changed, original.text[end:]])
    return Text(f"planted/{original.name}", text, original.name, jaccard(original.text, text))
