"""Which documents are scored."""

import lzma
from collections.abc import Mapping
from pathlib import Path

import pytest
from evaluation_samples import publish_corpus

from forge_pipelines.errors import DataError
from forge_pipelines.evaluation.compression import xz_bits_per_character
from forge_pipelines.evaluation.config import EvaluationConfig
from forge_pipelines.evaluation.heldout import choose, choose_general, whole_text
from forge_pipelines.evaluation.scored import ScoredText
from forge_pipelines.manifest import sha256_text
from forge_pipelines.store import Store


def _corpus(store: Store, name: str, heldout: list[str], train: list[str]) -> Path:
    return store.open(publish_corpus(store, heldout, train, name=name))


def _chosen(folders: Mapping[str, Path], config: EvaluationConfig) -> list[ScoredText]:
    return choose(folders, config, whole_text(config, general=False))


def test_the_first_by_text_hash_are_scored_each_cut_to_the_same_length(store: Store) -> None:
    folder = _corpus(store, "a", ["one text", "two texts", "three texts"], [])
    chosen = _chosen({"a": folder}, EvaluationConfig(max_documents=2, max_characters=4))
    expected = sorted(["one text", "two texts", "three texts"], key=sha256_text)[:2]
    assert [each.text for each in chosen] == [text[:4] for text in expected]


def test_a_text_of_two_corpora_counts_once_and_one_that_either_trains_on_does_not_count(store: Store) -> None:
    folders = {
        "a": _corpus(store, "a", ["shared", "only a", "trained by b"], ["x"]),
        "b": _corpus(store, "b", ["shared", "only b"], ["trained by b"]),
    }
    chosen = _chosen(folders, EvaluationConfig())
    assert sorted(each.text for each in chosen) == ["only a", "only b", "shared"]
    backwards = _chosen(dict(reversed(folders.items())), EvaluationConfig())
    assert chosen == backwards


def test_of_a_replayed_corpus_nothing_is_scored_and_what_it_trains_on_is_not_either(store: Store) -> None:
    folders = {
        "a": _corpus(store, "a", ["one of a", "two of a", "trained by wiki"], []),
        "wiki": _corpus(store, "wiki", ["one of wiki", "two of wiki"], ["trained by wiki"]),
    }
    config = EvaluationConfig()
    chosen = choose(folders, config, whole_text(config, general=False), replayed="wiki")
    assert sorted(each.text for each in chosen) == ["one of a", "two of a"]


def test_too_few_held_out_documents_are_refused_by_name(store: Store) -> None:
    folder = _corpus(store, "handbook", ["alone"], [])
    with pytest.raises(DataError, match=r"1 documents are held out of handbook.*at least two"):
        _chosen({"handbook": folder}, EvaluationConfig())


def test_where_few_documents_have_something_to_score_it_is_told_of_how_many(store: Store) -> None:
    folder = _corpus(store, "handbook", ["one text", "two texts", "three texts"], [])
    config = EvaluationConfig()
    whole = whole_text(config, general=False)
    with pytest.raises(DataError) as caught:
        choose({"handbook": folder}, config, lambda each: whole(each) if each.text == "one text" else ())
    assert str(caught.value) == (
        "of 3 documents that are held out of handbook 1 can be scored, and an evaluation needs at least two; raise "
        "evaluation.max_characters where their answers end beyond it, raise split.heldout_fraction of the corpus or "
        "add documents"
    )


def test_general_text_leaves_out_whatever_stands_in_the_models_own_corpora(store: Store) -> None:
    own = {"a": _corpus(store, "a", ["held out by a"], ["trained on by a"])}
    general = {"g": _corpus(store, "g", ["held out by a", "trained on by a", "one", "two", "three"], ["other"])}
    chosen = choose_general(general, own, EvaluationConfig(max_documents=2, max_characters=2))
    assert len(chosen) == 2
    assert all(each.general and each.text in {"on", "tw", "th"} for each in chosen)
    assert choose_general({}, own, EvaluationConfig()) == []


def test_too_few_general_documents_are_refused_by_the_name_of_their_corpus(store: Store) -> None:
    own = {"a": _corpus(store, "a", ["x", "y"], [])}
    with pytest.raises(DataError, match=r"1 documents are held out of prose \(evaluation\.general\)"):
        choose_general({"prose": _corpus(store, "prose", ["x", "alone"], [])}, own, EvaluationConfig())


def test_xz_counts_the_bits_of_one_stream_against_characters_and_not_bytes() -> None:
    texts = ["añb" * 50, "ü" * 30]
    stream = lzma.compress("".join(texts).encode(), preset=9 | lzma.PRESET_EXTREME)
    assert xz_bits_per_character(texts) == pytest.approx(8 * len(stream) / 180)
