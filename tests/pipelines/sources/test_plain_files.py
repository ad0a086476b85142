"""Files that are one text each become the very documents that they become one by one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forge_pipelines.columns import documents_of
from forge_pipelines.manifest import Segment
from forge_pipelines.sources import assembly, plain
from forge_pipelines.sources.config import Labels
from forge_pipelines.sources.identity import Found, Identities
from forge_pipelines.sources.labelling import Labelling
from forge_pipelines.sources.place import Refusal
from forge_pipelines.sources.plain import PlainFiles
from forge_pipelines.sources.readers.reading import Part, Reading, Record
from forge_pipelines.sources.readings import Readings
from forge_pipelines.sources.stage import read_source
from forge_pipelines.store import Store

LABELS = Labels.model_validate(
    {
        "licence": "CC0-1.0",
        "retain_days": 9,
        "owner": "ops",
        "classification": "internal",
        "overrides": [{"paths": ["**/secret-*"], "classification": "restricted"}],
    }
)
AT = "2026-01-02T03:04:05+00:00"


def found(number: int, path: str = "", at: str | None = AT) -> Found:
    return Found(path or f"folder/{number}.txt", f"{number:064x}", at, 10, None)


def part(text: str, path: str = "") -> Part:
    return Part(path, "" if path else None, "0" * 64, Reading(text, "text/plain"), None if "ü" in text else "en")


@pytest.fixture
def readings(tmp_path: Path) -> Readings:
    """Twenty files of one text; then a mail with an attachment, a record, a refused file, and one of nothing."""
    made = Readings(tmp_path / "readings")
    others = [
        [part("A mail."), part("Its attachment.", "!/a.txt")],
        [Part("", None, "", Record("chat", (Segment("user", "Hi"), Segment("assistant", "Hello")), "text/json"), "en")],
        [Part("", None, "", Refusal("empty", "has no text"))],
        [Part("", None, "", None)],
    ]
    for number, parts in enumerate([*([part(f"Text {each}, grün. 😀")] for each in range(20)), *others]):
        for each in parts:
            made.add(f"{number:064x}", each)
        made.add(f"{number:064x}", None)
        if number % 7 == 6:
            made.flush()
    made.flush()
    return made


def test_they_are_the_documents_that_they_are_one_by_one_in_any_order(readings: Readings) -> None:
    labelling = Labelling(LABELS)
    gathered, identities = PlainFiles("wiki", labelling, readings), Identities("wiki", labelling)
    files = [found(number) for number in (*range(3, 12), 2, 2, 19, 0)] + [found(5, "folder/secret-5.txt")]
    assert all(gathered.add(each) for each in files)
    expected = [row for each in files for row in identities.rows(each, readings.parts(each.sha256))]
    assert documents_of(gathered.take()) == expected
    assert len(gathered.take()) == 0


def test_they_are_taken_before_they_hold_many_chunks_of_what_was_read(
    readings: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = readings.place_of_text(found(0).sha256)
    assert place is not None
    monkeypatch.setattr(plain, "_MOST_HELD_BYTES", place.rows.nbytes + 1)
    files = PlainFiles("wiki", Labelling(LABELS), readings)
    assert all(files.add(found(number)) and not files.is_full for number in range(7)), "they stand in one chunk"
    assert files.add(found(7)) and files.is_full
    assert len(files.take()) == 8 and not files.is_full


@pytest.mark.parametrize("number", range(20, 24))
def test_what_is_not_one_text_is_not_taken(readings: Readings, number: int) -> None:
    files = PlainFiles("wiki", Labelling(LABELS), readings)
    assert not files.add(found(number))
    assert len(files.take()) == 0


def test_what_lacks_a_label_or_is_refused_is_not_taken(readings: Readings) -> None:
    some = Labels.model_validate({"classification": "public", "overrides": [{"paths": ["x"], "licence": "CC0-1.0"}]})
    assert not PlainFiles("wiki", Labelling(LABELS), readings).add(found(1, at=None)), "retain_days would count from it"
    assert not PlainFiles("wiki", Labelling(some), readings).add(found(1)), "it has no licence"
    refused = replace(found(1), refusal=Refusal("changed", "changed while it was being read"))
    assert not PlainFiles("wiki", Labelling(LABELS), readings).add(refused)


def test_a_picture_that_a_process_of_its_own_draws_is_the_same(
    configure: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = read_source(configure(), Store(str(tmp_path / "here"), tmp_path / "here-scratch"))
    monkeypatch.setattr(assembly, "_FEW_ITEMS", 0)
    aside = read_source(configure(), Store(str(tmp_path / "aside"), tmp_path / "aside-scratch"))
    assert aside.manifest.fingerprint == here.manifest.fingerprint
