"""A model adapted from an open one: compared with that, on its own documents and on general text."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from evaluation_samples import Adapted, Texts, copy_of, plain, publish_base, publish_checkpoint, publish_corpus

from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.evaluation.base import find_base
from forge_pipelines.evaluation.config import EvaluationConfig
from forge_pipelines.evaluation.page import render_page
from forge_pipelines.evaluation.report import (
    BITS_PER_CHARACTER,
    GENERAL_BITS_PER_CHARACTER,
    Answer,
    Report,
    metrics_of,
)
from forge_pipelines.evaluation.scored import ScoredText
from forge_pipelines.evaluation.scores import DocumentScore, require_finite
from forge_pipelines.evaluation.stage import EvaluationEnvironment, evaluate
from forge_pipelines.evaluation.verdict import forgetting, verdict
from forge_pipelines.evaluation.worker import measure, networks
from forge_pipelines.evaluation.worker.encoding import encode
from forge_pipelines.manifest import Manifest
from forge_pipelines.progress import Progress
from forge_pipelines.shards.tokenizer import read_document_tokens
from forge_pipelines.store import Publication, Store

QUESTIONS = ("When does the pump start?", "<script>ask()</script>")
CONFIG = EvaluationConfig(general=("prose",), questions=QUESTIONS, answer_tokens=6, bootstrap_samples=200)
GENERAL = tuple(f"A story of {number} rivers, told by nobody in particular." for number in range(6))


def _evaluate(
    store: Store, checkpoint: Manifest, config: EvaluationConfig, texts: Texts, on_progress: Callable[..., None]
) -> Publication:
    prose = publish_corpus(store, GENERAL, name="prose")
    manuals = publish_corpus(store, texts.heldout, texts.train, decontaminated_against=[prose])
    corpora = {"manuals": manuals, "prose": prose}
    environment = EvaluationEnvironment(log_folder=Path(store.address).parent / "logs", num_gpus=0)
    return evaluate("tiny", checkpoint, corpora, config, store, environment, on_progress)


class _Published:
    """One evaluation of an adapted model, published once for the tests that only look at it."""

    def __init__(self, root: Path, folders: Adapted, texts: Texts) -> None:
        self.store = Store(str(root / "store"), root / "scratch")
        self.base = publish_base(self.store, copy_of(folders.base))
        self.checkpoint = publish_checkpoint(self.store, copy_of(folders.checkpoint), self.base)
        self.told: list[Progress] = []
        self.manifest = _evaluate(self.store, self.checkpoint, CONFIG, texts, self.told.append).manifest
        self.folder = self.store.open(self.manifest)
        self.report = Report.model_validate_json((self.folder / "report.json").read_bytes())


@pytest.fixture(scope="module")
def published(adapted_folders: Adapted, texts: Texts, tmp_path_factory: pytest.TempPathFactory) -> _Published:
    return _Published(tmp_path_factory.mktemp("adapted"), adapted_folders, texts)


def test_the_base_is_the_open_model_that_the_checkpoint_was_adapted_from(
    published: _Published, adapted_folders: Adapted, texts: Texts
) -> None:
    precision = published.report.settings["precision"]
    network = networks.load_network(adapted_folders.base, "cpu", precision)
    begin = read_document_tokens(adapted_folders.checkpoint).begin
    documents = encode(networks.load_tokenizer(adapted_folders.base), begin, plain(texts.heldout))
    bits = measure.score(network, documents, published.report.settings["context_tokens"], lambda *_: None)
    metric = published.report.metrics[BITS_PER_CHARACTER]
    assert metric.base == pytest.approx(sum(bits) / sum(map(len, texts.heldout)), rel=1e-6)
    assert metric.value != metric.base
    assert published.report.adapted_from == published.base.name
    assert published.manifest.inputs["base:small_base"] == published.base.fingerprint


def test_general_text_is_measured_apart_from_documents_like_its_own(published: _Published, texts: Texts) -> None:
    report, scores = published.report, pq.read_table(published.folder / "scores.parquet").to_pylist()
    assert set(report.metrics) == set(metrics_of(CONFIG)) == {BITS_PER_CHARACTER, GENERAL_BITS_PER_CHARACTER}
    assert (report.documents, report.general_documents) == (len(texts.heldout), len(GENERAL))
    for metric, general in ((BITS_PER_CHARACTER, False), (GENERAL_BITS_PER_CHARACTER, True)):
        rows = [row for row in scores if row["general"] is general]
        expected = sum(row["bits"] for row in rows) / sum(row["characters"] for row in rows)
        assert report.metrics[metric].value == pytest.approx(expected)
    assert "general:prose" in published.manifest.inputs


def test_the_manifest_counts_both_metrics_with_the_ends_of_their_intervals(published: _Published) -> None:
    counts = published.manifest.counts
    for name, xz in ((BITS_PER_CHARACTER, "xz"), (GENERAL_BITS_PER_CHARACTER, "general/xz")):
        metric = published.report.metrics[name]
        ends = (counts[f"{name}_difference_low"], counts[f"{name}_difference_high"])
        assert (counts[name], counts[f"{name}_base"], counts[xz]) == (
            metric.value,
            metric.base,
            metric.references["xz"],
        )
        assert ends == metric.difference_interval
    assert counts["adapted_from"] == "small_base"


def test_both_models_answer_every_question_and_progress_says_so(published: _Published) -> None:
    assert [each.question for each in published.report.answers] == list(QUESTIONS)
    assert all(each.checkpoint and each.base for each in published.report.answers)
    for stage in ("scoring, adapted", "scoring, base", "answering, adapted", "answering, base"):
        last = [each for each in published.told if each.stage == f"tiny: {stage}"][-1]
        assert last.done == last.total


def test_the_page_names_the_base_and_escapes_questions_and_answers(published: _Published) -> None:
    hostile = Answer(question="<b>ask</b>", checkpoint="<script>new()</script>", base="<img src=x onerror=old()>")
    report = published.report.model_copy(update={"answers": (hostile,)})
    shown = render_page(report, [], {"loss": b"", "before_after": b""}, "internal", {})
    assert "&lt;script&gt;new()" in shown
    assert "&lt;img src=x onerror=old()&gt;" in shown
    assert "<b>ask" not in shown
    page = (published.folder / "report.html").read_text()
    assert "Adapting small_base" in page
    assert "general text" in page
    assert "<script" not in page


def test_sentences_name_the_base_and_say_what_the_intervals_say(published: _Published) -> None:
    def with_interval(low: float, high: float) -> Report:
        moved = {name: each.model_copy(update={"difference_interval": (low, high)}) for name, each in metrics.items()}
        return published.report.model_copy(update={"metrics": moved})

    metrics = published.report.metrics
    assert verdict(with_interval(-2, -1)).startswith("Adapting small_base removed")
    assert "made the model worse" in verdict(with_interval(1, 2))
    assert "Something was forgotten" in (forgetting(with_interval(1, 2)) or "")
    assert "Nothing was forgotten" in (forgetting(with_interval(-2, -1)) or "")
    assert "may be chance" in (forgetting(with_interval(-1, 1)) or "")
    own = {BITS_PER_CHARACTER: metrics[BITS_PER_CHARACTER]}
    assert forgetting(published.report.model_copy(update={"metrics": own})) is None


def test_general_text_that_the_model_was_trained_on_is_refused(
    store: Store, adapted_folders: Adapted, texts: Texts
) -> None:
    base = publish_base(store, copy_of(adapted_folders.base))
    checkpoint = publish_checkpoint(store, copy_of(adapted_folders.checkpoint), base, corpora=("manuals", "prose"))
    with pytest.raises(ConfigError, match=r"evaluation\.general names prose, which the model is trained on"):
        _evaluate(store, checkpoint, CONFIG, texts, lambda _: None)


def test_general_text_that_a_corpus_was_not_made_against_is_refused(
    store: Store, adapted_folders: Adapted, texts: Texts
) -> None:
    base = publish_base(store, copy_of(adapted_folders.base))
    checkpoint = publish_checkpoint(store, copy_of(adapted_folders.checkpoint), base)
    former = publish_corpus(store, GENERAL[:5], name="prose")
    now = publish_corpus(store, GENERAL, name="prose", decontaminated_against=[former])
    manuals = publish_corpus(store, texts.heldout, texts.train, decontaminated_against=[former])
    environment = EvaluationEnvironment(log_folder=Path(store.address).parent / "logs", num_gpus=0)
    with pytest.raises(DataError, match=r"corpus manuals may hold text that is held out of prose.*forge run manuals"):
        evaluate("tiny", checkpoint, {"manuals": manuals, "prose": now}, CONFIG, store, environment)


def test_a_base_that_is_gone_from_the_store_is_named(store: Store, adapted_folders: Adapted, texts: Texts) -> None:
    gone = Store(f"{store.address}-elsewhere", Path(store.address).parent / "other")
    base = publish_base(gone, copy_of(adapted_folders.base))
    checkpoint = publish_checkpoint(store, copy_of(adapted_folders.checkpoint), base)
    with pytest.raises(DataError, match=r"small_base/base_model \w+ is not in"):
        _evaluate(store, checkpoint, CONFIG, texts, lambda _: None)


def test_a_network_without_a_finite_likelihood_is_told_from_the_other(published: _Published) -> None:
    text = ScoredText("d", "manuals", "file://a.md", "text", general=False)
    base = find_base(published.checkpoint, published.store)
    sound = DocumentScore(text, tokens=1, bits=1.0, bits_base=2.0)
    require_finite([sound], published.checkpoint, base)
    for name, network in (
        ("bits", r"the checkpoint tiny/\w+ \w+"),
        ("bits_base", r"the open model small_base \(\w+\)"),
    ):
        with pytest.raises(DataError, match=rf"^{network} gives no finite likelihood for file://a.md"):
            require_finite([sound, replace(sound, **{name: math.nan})], published.checkpoint, base)


def test_both_networks_are_measured_at_the_same_precision_and_bf16_only_where_both_stand_so(
    adapted_folders: Adapted, checkpoint_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, mixed = [adapted_folders.base, adapted_folders.checkpoint], [adapted_folders.base, checkpoint_folder]
    for fast, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(networks, "has_fast_bf16", lambda _, fast=fast: fast)
        assert networks.choose_precision(both, "cpu") == expected
        assert networks.choose_precision(mixed, "cpu") == "float32"


def test_bf16_moves_bits_per_character_by_less_than_half_a_percent(adapted_folders: Adapted, texts: Texts) -> None:
    tokenizer = networks.load_tokenizer(adapted_folders.checkpoint)
    documents = encode(tokenizer, read_document_tokens(adapted_folders.checkpoint).begin, plain(texts.heldout))
    exact, fast = (
        sum(
            measure.score(
                networks.load_network(adapted_folders.checkpoint, "cpu", each), documents, 32, lambda *_: None
            )
        )
        for each in ("float32", "bfloat16")
    )
    assert fast == pytest.approx(exact, rel=5e-3)
    assert torch.tensor(fast).isfinite()
