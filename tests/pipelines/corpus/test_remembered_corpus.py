"""A corpus that is made again does only what is new, and is the one that would be made from nothing."""

import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import corpus_samples
import pytest
from documents_in_memory import document, pages

from forge_pipelines.columns import table_of_documents
from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.fates import Fate, FateTable
from forge_pipelines.corpus.remembered import MOST_RUNS, Remembered, map_remembered
from forge_pipelines.corpus.sketches import sketched
from forge_pipelines.corpus.stage import validate
from forge_pipelines.engine.local import LocalEngine
from forge_pipelines.engine.work import Work
from forge_pipelines.manifest import Document, Segment
from forge_pipelines.store import Store

TODAY = date(2026, 11, 25)


class CountingEngine(LocalEngine):
    """The engine of this machine, which counts the documents that it is given for each kind of work."""

    def __init__(self) -> None:
        super().__init__(num_workers=1)
        self.cleaned = self.hashed = 0

    def map_batches(self, work: Work, batches: Iterable[Any], *, few: bool = False) -> Iterator[Any]:
        def counted() -> Iterator[Any]:
            for batch in batches:
                self.cleaned += len(batch) * (work.function == "prepare")
                self.hashed += len(batch) * (work.function == "prepare_line_hashing")
                yield batch

        return super().map_batches(work, counted(), few=few)


def corpus(folder: Path, **fields: Any) -> CorpusConfig:
    rules = {**corpus_samples.rules(folder), **fields}
    return CorpusConfig.model_validate(
        {"name": "books", "sources": ["wiki"], "split": {"heldout_fraction": 0.3}, **rules}
    )


def changed(documents: Sequence[Document], number: int) -> list[Document]:
    """The documents with one changed, one removed and one added."""
    draw = random.Random(number)
    first, _, *others = documents
    text = f"{first.text}\n\nRevised {number} times."
    return [document("wiki", first.uri, text), *others, document("wiki", f"n-{number}", corpus_samples.prose(draw))]


def test_only_what_is_new_is_cleaned_and_the_corpus_is_that_made_from_nothing(
    store: Store, publish_source: Any, elsewhere: Any, tmp_path: Path
) -> None:
    config, documents = corpus(tmp_path), corpus_samples.planted()
    for number in range(3):
        engine = CountingEngine()
        wiki = publish_source("wiki", documents)
        made = validate(config, [wiki], store, engine=engine, today=TODAY)
        num_new = len(documents) if number == 0 else 2
        assert (engine.cleaned, engine.hashed) == (num_new, num_new)
        clean = validate(config, [wiki], elsewhere(wiki), today=TODAY)
        assert made.manifest.fingerprint == clean.manifest.fingerprint
        documents = changed(documents, number)


def test_an_unchanged_corpus_asks_for_no_work(store: Store, publish_source: Any, tmp_path: Path) -> None:
    wiki = publish_source("wiki", corpus_samples.planted())
    first = validate(corpus(tmp_path), [wiki], store, today=TODAY)
    engine, reports = CountingEngine(), list[str]()
    again = validate(corpus(tmp_path), [wiki], store, lambda each: reports.append(each.stage), engine, TODAY)
    assert again.manifest == first.manifest
    assert (engine.cleaned, engine.hashed, reports, again.fresh) == (0, 0, [], False)


@pytest.mark.parametrize(
    ("fields", "num_cleaned"),
    [
        ({"split": {"heldout_fraction": 0.4}}, 0),
        ({"expectations": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 2}}]}, 0),
        ({"near_duplicates": {"similarity": 0.9}}, 0),
        ({"length": {"min_characters": 20}}, 69),
        ({"personal_data": {"email": "keep"}}, 69),
    ],
)
def test_another_rule_for_documents_cleans_all_anew_and_what_is_said_of_the_whole_cleans_none(
    store: Store, publish_source: Any, elsewhere: Any, tmp_path: Path, fields: dict[str, Any], num_cleaned: int
) -> None:
    wiki = publish_source("wiki", corpus_samples.planted())
    validate(corpus(tmp_path), [wiki], store, today=TODAY)
    config, engine = corpus(tmp_path, **fields), CountingEngine()
    made = validate(config, [wiki], store, engine=engine, today=TODAY)
    assert (engine.cleaned, engine.hashed) == (num_cleaned, 0)
    clean = validate(config, [wiki], elsewhere(wiki), today=TODAY)
    assert made.manifest.fingerprint == clean.manifest.fingerprint


def test_another_evaluation_set_cleans_all_anew(store: Store, publish_source: Any, tmp_path: Path) -> None:
    wiki = publish_source("wiki", corpus_samples.planted())
    config = corpus(tmp_path)
    validate(config, [wiki], store, today=TODAY)
    (tmp_path / "exam.jsonl").write_text('{"text": "nothing of this stands in any of the documents, I hope"}\n')
    made = validate(config, [wiki], store, today=TODAY)
    assert "contaminated" not in made.manifest.counts["rejected_by_rule"]


def test_a_line_that_begins_to_repeat_touches_only_the_documents_that_hold_it(
    store: Store, publish_source: Any, elsewhere: Any, tmp_path: Path
) -> None:
    documents = corpus_samples.planted()
    slogan = "\n\nAsk the fitter of your yard before you open any valve."
    marked = [document("wiki", each.uri, each.text + slogan) for each in documents[:40]]
    rare = [*marked[:12], *documents[12:]]
    config = corpus(tmp_path, repeated_lines={"share": 0.2}, near_duplicates={"enabled": False})
    validate(config, [publish_source("wiki", rare)], store, today=TODAY)
    engine, wiki = CountingEngine(), publish_source("wiki", [*marked[:15], *documents[15:]])
    made = validate(config, [wiki], store, engine=engine, today=TODAY)
    assert (engine.hashed, engine.cleaned) == (3, 15), "12 as they were before hold a line that now repeats"
    clean = validate(config, [wiki], elsewhere(wiki), today=TODAY)
    assert made.manifest.fingerprint == clean.manifest.fingerprint


def test_the_day_on_which_documents_expire_touches_only_those_that_do(
    store: Store, publish_source: Any, tmp_path: Path
) -> None:
    documents = corpus_samples.planted()
    dated = [replace(each, expires_at="2027-01-01T00:00:00+00:00") for each in documents[:5]]
    wiki = publish_source("wiki", [*dated, *documents[5:]])
    validate(corpus(tmp_path), [wiki], store, today=TODAY)
    engine = CountingEngine()
    made = validate(corpus(tmp_path), [wiki], store, engine=engine, today=date(2027, 6, 1))
    assert engine.cleaned == 6, "the five, and the one that had expired before"
    assert made.manifest.counts["rejected_by_rule"]["expiry"] == 6


def test_after_many_runs_the_memory_is_no_larger_than_what_is_asked_for(tmp_path: Path) -> None:
    keys = [bytes([number]) * 16 for number in range(200)]
    fates = [Fate(f"{number:064}", "en", (Segment("text", "x" * number),)) for number in range(200)]
    for run in range(2 * MOST_RUNS):
        memory = Remembered(tmp_path, FateTable(), num_live=100)
        wanted = range(run, run + 100)
        known = memory.find([keys[number] for number in wanted])
        assert [fate for fate in known if fate is not None] == fates[wanted[0] : wanted[0] + (99 if run else 0)]
        for number, fate in zip(wanted, known, strict=True):
            memory.keep(keys[number], fates[number], is_new=fate is None)
        memory.finish()
        assert len([*tmp_path.iterdir()]) <= MOST_RUNS
    assert sum(memory is not None for memory in Remembered(tmp_path, FateTable(), 100).find(keys)) < 100 + MOST_RUNS


def prepare_who(_: str) -> Callable[[Sequence[Document]], list[Fate]]:
    """Return what says of each document which process had it."""
    return lambda documents: [Fate(each.text_sha256, None, reason=str(os.getpid())) for each in documents]


@pytest.mark.parametrize(("num_batches", "here"), [(1, True), (2, False)])
def test_what_is_one_batch_costs_no_process(tmp_path: Path, num_batches: int, *, here: bool) -> None:
    batches = [table_of_documents(pages("wiki", 100, first=100 * number)) for number in range(num_batches)]
    work = Work(module="test_remembered_corpus", function="prepare_who", argument="")
    memory = Remembered(tmp_path, FateTable(), num_live=1000)

    def keys_of(documents: Any) -> list[bytes]:
        return [os.urandom(16) for _ in range(len(documents))]

    made = map_remembered(LocalEngine(2), work, batches, memory, keys_of)
    by = {fate.reason for _, fates in made for fate in fates}
    assert (by == {str(os.getpid())}) == here


def test_a_fate_is_remembered_as_it_was(tmp_path: Path) -> None:
    (sketch,) = sketched(["one two three four five six"])
    fates = {
        b"a" * 16: Fate("1" * 64, None, None, {"email": 2}, sketch),
        b"b" * 16: Fate("2" * 64, "de", (Segment("user", "Fragé"), Segment("assistant", "")), {}, sketch),
        b"c" * 16: Fate("3" * 64, "en", rule="length", reason="too short", excerpt="Fragé"),
    }
    memory = Remembered(tmp_path, FateTable(), 3)
    for key, fate in fates.items():
        memory.keep(key, fate, is_new=True)
    memory.finish()
    assert Remembered(tmp_path, FateTable(), 3).find([*fates, b"d" * 16]) == [*fates.values(), None]
