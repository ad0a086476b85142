"""What a person sees of a source in the web UI: what came in, what it is, what was rejected and why, and samples."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import source_samples

from forge_assets.metadata import describe_checkpoint, describe_corpus, describe_documents, describe_shards
from forge_assets.settings import Settings
from forge_pipelines.manifest import Classification, Manifest, StageRequest
from forge_pipelines.store import Made, Store


def described(manifest: Manifest, settings: Settings) -> dict[str, Any]:
    return dict(describe_documents(source_samples.store_of(settings).open(manifest), manifest))


def rows(table: dg.TableMetadataValue) -> list[tuple[Any, ...]]:
    return [tuple(record.data.values()) for record in table.records]


@pytest.fixture
def handbook(handbook: Manifest, settings: Settings) -> dict[str, Any]:
    return described(handbook, settings)


def test_what_came_in_and_what_came_out_of_other_files_is_told(handbook: dict[str, Any]) -> None:
    told = " ".join(handbook["came in"].value.split())
    assert told.startswith("6 files, ")
    assert told.endswith("kB; 2 documents came out of them as members, attachments or records")
    assert " ".join(handbook["made"].value.split()).startswith("4 documents, ")
    assert "forge documents handbook" in " ".join(handbook["next"].value.split())


def test_there_are_tables_by_format_language_and_classification(handbook: dict[str, Any]) -> None:
    assert rows(handbook["formats"]) == [(3, "text/plain"), (1, "message/rfc822")]
    assert sum(number for number, _ in rows(handbook["languages"])) == 4
    assert rows(handbook["classifications"]) == [(4, "internal")]
    assert "kinds" not in handbook


def test_each_rule_stands_with_an_example_and_how_to_see_the_others(handbook: dict[str, Any]) -> None:
    empty, not_text = rows(handbook["rejections"])
    assert empty == ("empty", 2, "empty.txt holds no text", "forge documents handbook --rejected --rule empty")
    assert not_text[:2] == ("not_text", 1)
    assert not_text[2].startswith("program.txt is not text")


def test_the_samples_are_of_the_most_frequent_formats_and_say_what_holds_them(handbook: dict[str, Any]) -> None:
    samples = handbook["samples"].value
    assert [line for line in samples.splitlines() if line.startswith("**")] == [
        "**deep/pump.md** (text/plain, CC0-1.0)",
        "**in/seal.eml** in post.zip (message/rfc822, CC0-1.0)",
    ]


def test_where_all_is_of_one_format_the_first_documents_are_the_samples(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    for name in "abcde":
        (tmp_path / f"notes/{name}.txt").write_text(f"{source_samples.HALL} This is note {name}.")
    samples = described(source_samples.read(tmp_path / "notes", "notes", settings), settings)["samples"].value
    assert [line[:9] for line in samples.splitlines() if line.startswith("**")] == [
        "**a.txt**",
        "**b.txt**",
        "**c.txt**",
    ]


def test_records_and_their_kinds_are_told(settings: Settings, tmp_path: Path) -> None:
    metadata = described(source_samples.chats(tmp_path / "chats", settings), settings)
    assert rows(metadata["kinds"]) == [(2, "chat")]
    assert " ".join(metadata["made"].value.split()).startswith("2 documents (chat 2), ")
    assert "2 documents came out of them" in " ".join(metadata["came in"].value.split())
    assert "** in chats.jsonl (" in metadata["samples"].value
    assert rows(metadata["rejections"]) == []


def test_a_corpuss_rejections_stand_with_an_example_too(settings: Settings, tmp_path: Path) -> None:
    manifest = source_samples.books(tmp_path / "pages", settings)
    metadata = describe_corpus(source_samples.store_of(settings).open(manifest), manifest)
    [(rule, number, example, command)] = rows(metadata["rejections"])
    assert (rule, number, command) == ("length", 1, "forge documents books --rejected --rule length")
    assert example.startswith("stub.txt ")


def test_a_step_of_the_loss_curve_is_told_to_its_last_digit(store: Store) -> None:
    def make(folder: Path) -> Made:
        history = [{"step": 12_345, "loss": 1.23456, "grad_norm": 0.5, "learning_rate": 3e-4}]
        (folder / "history.json").write_text(json.dumps(history))
        counts = {"tokens_trained": 9, "steps": 12_345, "parameters": 9, "final_loss": 1.2}
        measured = {"tokens_per_second": 9.0, "world_size": 1, "device": "CPU"}
        return Made(counts, Classification.INTERNAL, measured)

    request = StageRequest(kind="trained_checkpoint", name="clerk", inputs={}, parameters={}, code_version="1")
    manifest = store.obtain(request, make).manifest
    assert rows(describe_checkpoint(store.open(manifest), manifest)["loss by step"]) == [(12_345, 1.235, 0.5, 3e-4)]


def test_shards_of_chats_tell_what_was_rejected(settings: Settings, tmp_path: Path) -> None:
    manifest = source_samples.assistant(tmp_path / "desk", settings)
    metadata = describe_shards(source_samples.store_of(settings).open(manifest), manifest)
    [(rule, number, example, command)] = rows(metadata["rejections"])
    assert (rule, number, command) == ("no_chat", 1, "forge documents clerk/tokenized_shards --rejected --rule no_chat")
    assert example == "hall.txt is no chat but a text, and training learns from chats"
    told = {name: " ".join(metadata[name].value.split()) for name in ("came in", "made", "thrown away")}
    assert told["came in"] == "3 documents of 1 source"
    assert told["made"].startswith("1 sequences of 128 tokens, ")
    assert told["thrown away"] == "1 documents, by rule: no_chat 1"
