"""All rules together: each planted document meets its own, on any number of processes."""

from datetime import date
from pathlib import Path
from typing import Any

import corpus_samples
import pyarrow.parquet as pq
import pytest
from documents_in_memory import document, pages

from forge_pipelines.corpus import batches, making, remembered
from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.membership import CLUSTERS
from forge_pipelines.corpus.page import PAGE
from forge_pipelines.corpus.reading import read_heldout, read_train
from forge_pipelines.corpus.stage import check_corpus, validate
from forge_pipelines.engine.local import LocalEngine
from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.store import Store
from forge_pipelines.tables import read_rejections

TODAY = date(2026, 11, 25)


def corpus(**fields: Any) -> CorpusConfig:
    return CorpusConfig.model_validate(
        {"name": "books", "sources": ["wiki"], "split": {"heldout_fraction": 0.3}, **fields}
    )


def test_each_document_meets_its_rule_and_the_rest_is_kept(store: Store, publish_source: Any, tmp_path: Path) -> None:
    wiki = publish_source("wiki", corpus_samples.planted())
    made = validate(corpus(**corpus_samples.rules(tmp_path)), [wiki], store, today=TODAY)
    folder = store.open(made.manifest)
    rejected = {row.uri: (row.rule, row.reason) for row in read_rejections(folder / "rejections.parquet")}
    assert {uri: rule for uri, (rule, _) in rejected.items()} == {
        "plain-001.md": "duplicate",
        "plain-000.md": "near_duplicate",
        "exam.md": "contaminated",
        "french.md": "language",
        "old.md": "expiry",
        "foreign.md": "licence",
        "draft.md": "corpus_samples:no_drafts",
        "stub.md": "length",
    }
    assert rejected["draft.md"][1] == "is marked DRAFT"
    kept = {each.uri: each.text for each in (*read_train(folder), *read_heldout(folder))}
    assert len(kept) == 61
    assert kept["secret.md"].endswith("Write to <EMAIL> or pay <IBAN>.")
    assert not any(corpus_samples.FOOTER in text for text in kept.values())
    counts = made.manifest.counts
    assert counts["redactions_by_kind"] == {"email": 1, "iban": 1}
    assert (counts["near_duplicates"], counts["duplicates"]) == (1, 1)


def test_no_excerpt_of_a_rejection_shows_what_is_replaced_in_documents(store: Store, publish_source: Any) -> None:
    stub = document("wiki", "short.md", "Mail ada@acme.example.")
    made = validate(corpus(), [publish_source("wiki", [*corpus_samples.planted(), stub])], store)
    rows = {row.uri: row.excerpt for row in read_rejections(store.open(made.manifest) / "rejections.parquet")}
    assert rows["short.md"] == "Mail <EMAIL>."


def test_a_question_about_any_copy_finds_the_document_that_stands_for_it(store: Store, publish_source: Any) -> None:
    planted = {each.uri: each.doc_id for each in corpus_samples.planted()}
    made = validate(corpus(), [publish_source("wiki", corpus_samples.planted())], store)
    rows = pq.read_table(store.open(made.manifest) / CLUSTERS).to_pylist()
    assert {(row["doc_id"], row["survivor"]) for row in rows} == {
        (planted[uri], planted[survivor])
        for uri, survivor in (
            ("copy.md", "copy.md"),
            ("plain-001.md", "copy.md"),
            ("near.md", "near.md"),
            ("plain-000.md", "near.md"),
        )
    }


def test_the_report_tells_of_every_rule_with_samples_and_escapes_them(store: Store, publish_source: Any) -> None:
    hostile = document("wiki", "<script>alert(1)</script>.md", "x < y")
    made = validate(corpus(), [publish_source("wiki", [*corpus_samples.planted(), hostile])], store)
    page = (store.open(made.manifest) / PAGE).read_text()
    for said in (
        "<b>near_duplicate</b> rejected 1 of wiki",
        "<b>length</b> rejected 2 of wiki",
        "email",
        "near-copies",
    ):
        assert said in page
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "http" not in page, "it loads nothing from anywhere"


@pytest.mark.parametrize("num_workers", [1, 3])
def test_neither_processes_nor_batches_change_a_byte(
    store: Store,
    publish_source: Any,
    elsewhere: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    num_workers: int,
) -> None:
    wiki = publish_source("wiki", corpus_samples.planted())
    config = corpus(**corpus_samples.rules(tmp_path))
    whole = validate(config, [wiki], store, today=TODAY)
    monkeypatch.setattr(batches, "_BATCH_DOCUMENTS", 7)
    monkeypatch.setattr(remembered, "_AT_ONCE", 1)
    parts = validate(config, [wiki], elsewhere(wiki), engine=LocalEngine(num_workers), today=TODAY)
    assert parts.manifest.fingerprint == whole.manifest.fingerprint


def test_what_a_process_of_its_own_holds_and_draws_is_the_same(
    store: Store, publish_source: Any, elsewhere: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiki = publish_source("wiki", corpus_samples.planted())
    warns = {"type": "expect_table_row_count_to_be_between", "kwargs": {"max_value": 1}, "severity": "warning"}
    config = corpus(**corpus_samples.rules(tmp_path), expectations=[warns])
    here = validate(config, [wiki], store, engine=LocalEngine(2), today=TODAY)
    monkeypatch.setattr(making, "_FEW_DOCUMENTS", 0)
    aside = validate(config, [wiki], elsewhere(wiki), engine=LocalEngine(2), today=TODAY)
    assert aside.manifest.fingerprint == here.manifest.fingerprint
    assert aside.manifest.counts["warnings"] == 1


@pytest.mark.parametrize(
    ("expectation", "kind", "sentence"),
    [
        ({"column": "doc_id", "colum": "doc_id"}, ConfigError, "is given wrong arguments: colum: extra fields"),
        ({"column": "kind"}, DataError, "is not what it must be, and nothing was published"),
    ],
)
def test_what_a_process_of_its_own_refuses_is_one_sentence_and_publishes_nothing(
    store: Store,
    publish_source: Any,
    monkeypatch: pytest.MonkeyPatch,
    expectation: dict[str, str],
    kind: type[Exception],
    sentence: str,
) -> None:
    monkeypatch.setattr(making, "_FEW_DOCUMENTS", 0)
    wiki = publish_source("wiki", pages("wiki", 40))
    config = corpus(expectations=[{"type": "expect_column_values_to_be_unique", "kwargs": expectation}])
    with pytest.raises(kind, match=sentence) as caught:
        validate(config, [wiki], store, engine=LocalEngine(2))
    assert "\n" not in str(caught.value)
    assert [manifest.kind for manifest in store.manifests()] == ["raw_documents"]


def test_the_day_alone_makes_no_corpus_anew(store: Store, publish_source: Any) -> None:
    wiki = publish_source("wiki", corpus_samples.planted())
    first = validate(corpus(), [wiki], store, today=TODAY)
    assert validate(corpus(), [wiki], store, today=date(2030, 1, 1)).manifest == first.manifest
    before = validate(corpus(), [wiki], store, today=date(2019, 1, 1))
    assert before.manifest.counts["rejected_by_rule"].get("expiry") is None
    assert first.manifest.counts["rejected_by_rule"]["expiry"] == 1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"rules": [{"rule": "corpus_samples:no_such_rule"}]}, "no_such_rule"),
        ({"rules": [{"rule": "no_such_module:rule"}]}, "no_such_module"),
        (
            {"decontamination": {"evaluation_sets": [{"name": "exam", "path": "/nowhere/exam.jsonl"}]}},
            "/nowhere/exam.jsonl",
        ),
    ],
)
def test_what_the_yaml_names_and_is_not_there_is_told_when_it_loads(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        check_corpus(corpus(**fields))
    assert "\n" not in str(caught.value)


def fail(_: Any) -> str | None:
    raise ValueError("this rule is broken")


def test_a_rule_that_raises_in_another_process_is_one_sentence_and_publishes_nothing(
    store: Store, publish_source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_BATCH_DOCUMENTS", 7)
    monkeypatch.setattr(remembered, "_AT_ONCE", 1)
    wiki = publish_source("wiki", pages("wiki", 40))
    config = corpus(rules=[{"rule": "test_corpus_rules:fail"}])
    with pytest.raises(DataError, match=r"test_corpus_rules:fail.*this rule is broken"):
        validate(config, [wiki], store, engine=LocalEngine(2))
    assert [manifest.kind for manifest in store.manifests()] == ["raw_documents"]
