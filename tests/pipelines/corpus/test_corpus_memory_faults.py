"""What a corpus remembers of its documents is only a help: damage to any of it changes nothing of what is made."""

import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_runs import TODAY, corpus, source, write_documents

from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.stage import validate
from forge_pipelines.engine.local import LocalEngine
from forge_pipelines.engine.work import Work
from forge_pipelines.sources.stage import read_source
from forge_pipelines.store import Store

ROUNDS = 50 if os.environ.get("FORGE_SOAK") else 1


class CountingEngine(LocalEngine):
    """An engine of this process that counts the documents which it is given."""

    def __init__(self) -> None:
        super().__init__(num_workers=1)
        self.num_documents = 0

    def map_batches(self, work: Work, batches: Iterable[Any], *, few: bool = False) -> Iterator[Any]:
        return super().map_batches(work, map(self._counted, batches), few=few)

    def _counted(self, batch: Any) -> Any:
        self.num_documents += len(batch)
        return batch


@dataclass(frozen=True, slots=True)
class Changed:
    """A source of which a corpus was made, and which has changed since.

    Attributes:
        folder: the store that holds the source as it is now, and the memory of the corpus as it was.
        fingerprint: of the corpus as it is now, made by a run that remembers nothing.
        num_documents: how many documents the engine was given in that run.
    """

    folder: Path
    config: CorpusConfig
    fingerprint: str
    num_documents: int

    def copy(self, folder: Path) -> Store:
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Store(str(folder / "store"), folder / "scratch")


def make(config: CorpusConfig, store: Store) -> tuple[str, int]:
    """Make the corpus; return its fingerprint, and how many documents the engine was given."""
    engine = CountingEngine()
    made = validate(config, [store.latest("wiki", "raw_documents")], store, engine=engine, today=TODAY)
    return made.manifest.fingerprint, engine.num_documents


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Changed:
    folder = tmp_path_factory.mktemp("changed")
    documents, config = folder / "documents", corpus(folder)
    write_documents(documents)
    store = Store(str(folder / "store"), folder / "scratch")
    read_source(source(documents), store)
    make(config, store)
    (documents / "plain-007.md").write_text((documents / "plain-007.md").read_text().replace("pump", "engine"))
    (documents / "plain-008.md").unlink()
    shutil.copy(documents / "plain-009.md", documents / "another-copy.md")
    read_source(source(documents), store)
    clean = Store(str(folder / "clean"), folder / "clean-scratch")
    read_source(source(documents), clean)
    fingerprint, num_documents = make(config, clean)
    kept = folder / "kept"
    for part in ("store", "scratch"):
        shutil.copytree(folder / part, kept / part)
    return Changed(kept, config, fingerprint, num_documents)


def chunks(store: Store) -> list[Path]:
    """The files in which the corpus is remembered: at least one, or nothing is remembered."""
    found = sorted(path for path in store.memory("books", "validated_corpus").rglob("*") if path.is_file())
    assert found, "the corpus remembers nothing: its memory is empty after a run"
    return found


def test_what_is_remembered_is_not_done_again_and_the_corpus_is_that_of_a_clean_run(
    changed: Changed, tmp_path: Path
) -> None:
    store = changed.copy(tmp_path)
    assert chunks(store)
    fingerprint, num_documents = make(changed.config, store)
    assert fingerprint == changed.fingerprint
    assert num_documents < changed.num_documents / 10


def flip(path: Path, place: int, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def flip_at(share: float) -> Callable[[Path], None]:
    """Return what flips one bit of a file, at a share of its length."""
    return lambda path: flip(path, int(share * (path.stat().st_size - 1)), 2)


def flip_in_name(bit: int) -> Callable[[Path], None]:
    """Return what flips one bit of the name that a column has in a table's schema, at the file's end."""
    return lambda path: flip(path, path.read_bytes().index(b"key", path.stat().st_size // 2), bit)


def foreign(name: str, content: bytes) -> Callable[[Path], None]:
    """Return what writes a file beside another; {} in its name stands for that one's."""

    def write(path: Path) -> None:
        (path.parent / name.format(path.stem)).write_bytes(content)

    return write


def foreign_table(keys: pa.Array, **columns: list[str]) -> Callable[[Path], None]:
    """Return what writes a whole table of other columns beside a file, under a later number."""
    return lambda path: pq.write_table(pa.table({"key": keys, **columns}), path.parent / f"9{path.name[1:]}")


DAMAGES: dict[str, Callable[[Path], None]] = {
    **{f"a bit is flipped at {share:.0%}": flip_at(share) for share in (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)},
    "a column has another name": flip_in_name(0),
    "a column's name is no UTF-8": flip_in_name(7),
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "removed": Path.unlink,
    "no table beside it": foreign("foreign.parquet", b"foreign"),
    "no table under its number": foreign("{}0.parquet", b"foreign"),
    "half of a table beside it": foreign("{}.part", b"PAR1"),
    "a table without keys beside it": foreign_table(pa.array([None, None], pa.binary(16)), text=["a", "b"]),
    "a table of other keys beside it": foreign_table(pa.array(["a", "bc"])),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_what_is_remembered_changes_nothing_of_the_next_corpus(
    changed: Changed, tmp_path: Path, damage: str
) -> None:
    store = changed.copy(tmp_path)
    for path in chunks(store):
        DAMAGES[damage](path)
    assert make(changed.config, store)[0] == changed.fingerprint
    assert not [*store.memory("books", "validated_corpus").rglob("*.part")]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_bit_that_is_flipped_anywhere_changes_nothing_of_the_next_corpus(
    changed: Changed, tmp_path: Path, number: int
) -> None:
    draw = random.Random(number)
    store = changed.copy(tmp_path)
    path = draw.choice(chunks(store))
    flip(path, draw.randrange(path.stat().st_size), draw.randrange(8))
    assert make(changed.config, store)[0] == changed.fingerprint
