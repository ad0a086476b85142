"""What is remembered of files is all that was heard of them, and only what holds for every run."""

from pathlib import Path

import pytest

from forge_pipelines.manifest import Segment
from forge_pipelines.sources import readings as module
from forge_pipelines.sources.place import Refusal
from forge_pipelines.sources.readers.reading import Part, Reading, Record
from forge_pipelines.sources.readings import PASSING, Readings

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def part(path: str, text: str = "text") -> Part:
    return Part(path, None if not path else "", "0" * 64, Reading(text, "text/plain"), "en")


def keep(readings: Readings, sha256: str, *parts: Part) -> list[Part]:
    for each in parts:
        readings.add(sha256, each)
    readings.add(sha256, None)
    return [*parts]


def test_every_kind_of_part_comes_back_as_it_was(tmp_path: Path) -> None:
    chat = Record("chat", (Segment("user", "What is it?"), Segment("assistant", "A pump.")), "application/x-ndjson")
    readings = Readings(tmp_path / "readings")
    kept = keep(
        readings,
        A,
        Part("", None, "1" * 64, None),
        part("!/ä b.txt", "one\n\ntwo\u2028\U0001f600"),
        Part("#2", "", "2" * 64, chat, "en"),
        Part("!/bad", "", "", Refusal("damaged", "cannot be read", "its beginning")),
    )
    readings.flush()
    assert [*readings.parts(A)] == kept
    assert [*Readings(tmp_path / "readings").parts(A)] == kept


def test_a_file_of_many_parts_may_stand_in_many_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK_ROWS", 3)
    readings = Readings(tmp_path / "readings")
    first = keep(readings, A, part(""))
    many = keep(readings, B, *(part(f"#{number}", str(number)) for number in range(20)))
    last = keep(readings, C, part(""))
    readings.flush()
    again = Readings(tmp_path / "readings")
    assert [[*again.parts(file)] for file in (B, A, C, B)] == [many, first, last, many]


def test_a_file_whose_run_was_killed_in_its_middle_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK_ROWS", 2)
    killed = Readings(tmp_path / "readings")
    first = keep(killed, A, part(""))
    for number in range(4):
        killed.add(B, part(f"#{number}"))
    again = Readings(tmp_path / "readings")
    assert (again.knows(A), again.knows(B)) == (True, False)
    second = keep(again, B, part("#0"), part("#1"))
    again.flush()
    once_more = Readings(tmp_path / "readings")
    assert [*once_more.parts(B)] == second
    assert [*once_more.parts(A)] == first


@pytest.mark.parametrize("rule", sorted(PASSING))
def test_a_refusal_that_may_be_another_next_time_holds_for_this_run_alone(tmp_path: Path, rule: str) -> None:
    readings = Readings(tmp_path / "readings")
    kept = keep(readings, A, part(""), Part("!/1", "", "", Refusal(rule, "did not end")))
    readings.flush()
    assert [*readings.parts(A)] == kept
    assert not Readings(tmp_path / "readings").knows(A)


def test_tidied_readings_hold_what_lives_and_nothing_else(tmp_path: Path) -> None:
    readings = Readings(tmp_path / "readings")
    kept = {sha256: keep(readings, sha256, part("", sha256)) for sha256 in (A, B, C)}
    readings.flush()
    readings.tidy([C, A, C], 1)
    again = Readings(tmp_path / "readings")
    assert {sha256: [*again.parts(sha256)] for sha256 in (A, C)} == {A: kept[A], C: kept[C]}
    assert not again.knows(B)
