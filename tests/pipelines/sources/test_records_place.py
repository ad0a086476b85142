"""What data sets promise as a place, and as a source: files of any size, read where they stand, a document a record."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from record_samples import arrow_stream, delimited, json_lines, parquet, written

from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import Document, Manifest, Rejection
from forge_pipelines.sources.config import ReadingLimits, SourceConfig
from forge_pipelines.sources.connections import no_connections
from forge_pipelines.sources.place import Item, Place, Refusal
from forge_pipelines.sources.places.opening import open_place
from forge_pipelines.sources.places.records import Records
from forge_pipelines.sources.stage import read_source
from forge_pipelines.store import Store

Contents = Callable[[Manifest], tuple[dict[str, Document], dict[str, Rejection]]]


def source(path: Path, **records: Any) -> SourceConfig:
    labels = {"licence": "CC0-1.0", "classification": "internal"}
    return SourceConfig.model_validate(
        {"name": "tickets", "records": {"path": str(path), **records}, "labels": labels, "max_file_bytes": 10}
    )


def opened(path: Path, **records: Any) -> Place:
    return open_place(source(path, **records), no_connections)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written(tmp_path, "data/b/train.parquet", parquet({"key": "a", "text": "one"}, {"key": "b", "text": "two"}))
    written(tmp_path, "data/a.csv", delimited({"key": "c", "text": "three"}))
    return tmp_path / "data"


def test_files_are_listed_and_handed_over_where_they_stand(folder: Path) -> None:
    place = opened(folder)
    assert isinstance(place, Records)
    items = list(place.items())
    assert [item.path for item in items] == ["a.csv", "b/train.parquet"]
    assert list(place.fetch(items)) == [folder / "a.csv", folder / "b/train.parquet"]
    assert [item.refusal for item in items] == [None, None], "they are of any size, whatever max_file_bytes says"
    assert [item.path for item in opened(folder, include=["**/*.csv"]).items()] == ["a.csv"]


def test_what_is_there_no_longer_is_refused(folder: Path) -> None:
    place = opened(folder)
    (folder / "a.csv").unlink()
    os.mkfifo(folder / "pipe")
    gone, pipe = place.fetch([Item("a.csv"), Item("pipe")])
    assert gone == Refusal("unreadable", "cannot be read: No such file or directory")
    assert pipe == Refusal("changed", "is no longer a file; it is read again at the next run")


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not exist; correct `records.path` or create it"):
        opened(tmp_path / "nowhere")


def test_each_record_is_a_document_whose_parent_is_its_file(folder: Path, store: Store, contents: Contents) -> None:
    config = source(folder, columns={"id": "key"})
    documents, rejections = contents(read_source(config, store).manifest)
    assert {uri: document.text for uri, document in documents.items()} == {
        "a.csv#c": "three",
        "b/train.parquet#a": "one",
        "b/train.parquet#b": "two",
    }
    assert rejections == {}
    assert documents["b/train.parquet#a"].parent_id == documents["b/train.parquet#b"].parent_id
    assert documents["b/train.parquet#a"].parent_id is not None


def test_chats_and_preferences_keep_their_speakers(tmp_path: Path, store: Store, contents: Contents) -> None:
    chat = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}
    path = written(tmp_path, "chats/a.arrow", arrow_stream(chat, {"messages": chat["messages"][:1]})).parent
    documents, rejections = contents(read_source(source(path, kind="chat"), store).manifest)
    assert [(segment.role, segment.text) for segment in documents["a.arrow#1"].segments] == [
        ("user", "hi"),
        ("assistant", "ho"),
    ]
    assert (documents["a.arrow#1"].kind, rejections["a.arrow#2"].rule) == ("chat", "no_answer")
    path = written(tmp_path, "pairs/b.jsonl", json_lines({"prompt": "hi", "chosen": "ho", "rejected": "no"})).parent
    documents, _ = contents(read_source(source(path, kind="preference"), store).manifest)
    assert [segment.role for segment in documents["b.jsonl#1"].segments] == ["user", "chosen", "rejected"]
    assert documents["b.jsonl#1"].kind == "preference"


def test_a_mapping_to_a_column_that_is_not_there_is_one_error(folder: Path, store: Store) -> None:
    with pytest.raises(DataError, match=r"a.csv, which has no column body; it has key, text: correct records.columns"):
        read_source(source(folder, include=["*.csv"], columns={"text": "body"}), store)


def test_a_parquet_file_is_read_in_the_least_memory_that_can_be_allowed(tmp_path: Path, store: Store) -> None:
    path = written(tmp_path, "data/a.parquet", parquet(*({"text": "x" * 10_000 + str(n)} for n in range(2000)))).parent
    config = source(path).model_copy(update={"reading": ReadingLimits(memory_bytes=256 << 20)})
    counts = read_source(config, store).manifest.counts
    assert (counts["documents"], counts["rejected"]) == (2000, 0)


def test_an_added_record_leaves_the_others_the_documents_that_they_were(
    folder: Path, store: Store, contents: Contents
) -> None:
    config = source(folder, columns={"id": "key"})
    before, _ = contents(read_source(config, store).manifest)
    rows = [{"key": "z", "text": "zero"}, {"key": "a", "text": "one"}, {"key": "b", "text": "changed"}]
    written(folder, "b/train.parquet", parquet(*rows))
    after, _ = contents(read_source(config, store).manifest)
    assert after["b/train.parquet#a"].doc_id == before["b/train.parquet#a"].doc_id
    assert after["b/train.parquet#b"].doc_id != before["b/train.parquet#b"].doc_id
    assert after["b/train.parquet#z"].text == "zero"
