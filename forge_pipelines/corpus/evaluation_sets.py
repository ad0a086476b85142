"""The items of evaluation sets: what stands in files, and the documents that other corpora hold out."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import file_digest
from itertools import groupby
from pathlib import Path
from typing import Any

from forge_pipelines.corpus.evaluation_sets_config import EvaluationSet
from forge_pipelines.corpus.reading import HELDOUT, read_heldout
from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import Manifest, Name, digest

_RECORDS = frozenset({".jsonl", ".ndjson"})
_TEXTS = frozenset({".txt", ".md"})


@dataclass(frozen=True, slots=True)
class Item:
    """One item: its set, where it stands there, and its text."""

    set: Name
    place: str
    text: str


def check_evaluation_sets(sets: Iterable[EvaluationSet]) -> None:
    """Check that there are files at the sets' paths; cheap, done when the YAML loads.

    Raises:
        ConfigError: there are none, or one is of another format.
    """
    for each in sets:
        if each.path is not None:
            _files(each, each.path)


def evaluation_set_hashes(
    sets: Iterable[EvaluationSet], held_out: Mapping[Name, Manifest] | None = None
) -> Mapping[Name, str]:
    """Return a SHA-256 of each set's files and column: what of it shapes a corpus.

    Args:
        sets: the sets.
        held_out: the manifest of each corpus that they name.

    Raises:
        ConfigError: see `check_evaluation_sets`.
    """
    return {each.title: _set_hash(each, held_out or {}) for each in sets}


def read_items(sets: Iterable[EvaluationSet], held_out: Mapping[Name, Path] | None = None) -> Iterator[Item]:
    """Yield the items of the sets, in order.

    Args:
        sets: the sets.
        held_out: the local folder of each corpus that they name.

    Raises:
        ConfigError: see `check_evaluation_sets`.
        DataError: a file is not what it must be, or a set has no item.
    """
    for each in sets:
        num_items = 0
        for place, text in _items(each, held_out or {}):
            num_items += 1
            yield Item(each.title, place, text)
        if num_items == 0:
            at = f" at {each.path}" if each.path else ""
            raise DataError(f"evaluation set {each.title}{at} has no item; write some, or leave out the set")


def _items(each: EvaluationSet, held_out: Mapping[Name, Path]) -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each item of a set."""
    if each.corpus is not None:
        for document in read_heldout(held_out[each.corpus]):
            yield document.uri, document.text
    elif each.path is not None:
        for path in _files(each, each.path):
            place = path.relative_to(each.path).as_posix() if path != Path(each.path) else path.name
            for number, text in _texts(each, path):
                yield f"{place}:{number}", text


def _files(each: EvaluationSet, address: str) -> list[Path]:
    root = Path(address)
    if root.is_dir():
        files = sorted(path for path in root.rglob("[!.]*") if path.is_file())
    else:
        files = [root] if root.is_file() else []
    if not files:
        raise ConfigError(f"evaluation set {each.name}: there is no file at {address}; put it there, or mend `path`")
    for path in files:
        if path.suffix.lower() not in _RECORDS | _TEXTS:
            formats = ", ".join(sorted(_RECORDS | _TEXTS))
            raise ConfigError(f"evaluation set {each.name}: {path} is no file of items; these end in {formats}")
    return files


def _set_hash(each: EvaluationSet, held_out: Mapping[Name, Manifest]) -> str:
    if each.path is not None:
        return digest([each.column, *map(_file_hash, _files(each, each.path))])
    (parts,) = (entry for entry in held_out[each.title].files if entry.path == HELDOUT)
    return parts.sha256


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _texts(each: EvaluationSet, path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8-sig") as lines:
            if path.suffix.lower() in _RECORDS:
                yield from _records(each, path, lines)
            else:
                yield from _paragraphs(lines)
    except UnicodeDecodeError as error:
        raise DataError(f"evaluation set {each.name}: {path} is not UTF-8 ({error.reason}); convert it") from error


def _paragraphs(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield the number of each paragraph's first line, and its text."""
    for written, paragraph in groupby(enumerate(lines, 1), key=lambda line: not line[1].isspace()):
        if written:
            numbered = list(paragraph)
            yield numbered[0][0], "".join(line for _, line in numbered)


def _records(each: EvaluationSet, path: Path, lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        if line.isspace():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"evaluation set {each.name}: {path}, line {number} is no JSON ({error})") from error
        yield number, _text(record, each, f"{path}, line {number}")


def _text(record: Any, each: EvaluationSet, place: str) -> str:
    if not isinstance(record, dict) or each.column not in record:
        has = f"only {', '.join(record)}" if isinstance(record, dict) and record else "none"
        raise DataError(f"evaluation set {each.name}: {place} has no field {each.column} but {has}; mend `column`")
    value = record[each.column]
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise DataError(f"evaluation set {each.name}: {place}, field {each.column} is no text; name another `column`")
    return "\n".join(texts)
