"""The stage: from a checkpoint and corpora to a published report."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from evaluation_samples import Texts, copy_of, publish_checkpoint, publish_corpus
from safetensors.torch import load_file, save_file

from forge_pipelines.errors import DataError, PlatformError
from forge_pipelines.evaluation.config import EvaluationConfig
from forge_pipelines.evaluation.report import BITS_PER_CHARACTER, Report, metrics_of
from forge_pipelines.evaluation.stage import EvaluationEnvironment, evaluate
from forge_pipelines.evaluation.verdict import compare_with_xz, verdict
from forge_pipelines.manifest import Classification, Manifest
from forge_pipelines.progress import Progress
from forge_pipelines.store import Publication, Store

CONFIG = EvaluationConfig(bootstrap_samples=200)
Evaluate = Callable[..., Publication]


def _evaluate(
    store: Store, checkpoint: Manifest, corpus: Manifest, on_progress: Callable[[Progress], None]
) -> Publication:
    environment = EvaluationEnvironment(log_folder=Path(store.address).parent / "logs", num_gpus=0)
    return evaluate("tiny", checkpoint, {"manuals": corpus}, CONFIG, store, environment, on_progress)


class _Published:
    """One evaluation, published once for the tests that only look at it."""

    def __init__(self, root: Path, checkpoint_folder: Path, texts: Texts) -> None:
        self.store = Store(str(root / "store"), root / "scratch")
        self.checkpoint = publish_checkpoint(self.store, copy_of(checkpoint_folder))
        self.corpus = publish_corpus(self.store, texts.heldout, texts.train)
        self.reports: list[Progress] = []
        self.publication = _evaluate(self.store, self.checkpoint, self.corpus, self.reports.append)
        self.folder = self.store.open(self.publication.manifest)


@pytest.fixture(scope="module")
def published(checkpoint_folder: Path, texts: Texts, tmp_path_factory: pytest.TempPathFactory) -> _Published:
    return _Published(tmp_path_factory.mktemp("evaluation"), checkpoint_folder, texts)


def test_a_report_follows_its_schema_and_agrees_with_the_scores_beside_it(published: _Published, texts: Texts) -> None:
    report = Report.model_validate_json((published.folder / "report.json").read_bytes())
    scores = pq.read_table(published.folder / "scores.parquet").to_pydict()
    metric = report.metrics[BITS_PER_CHARACTER]
    assert set(report.metrics) == set(metrics_of(CONFIG)) == {BITS_PER_CHARACTER}
    assert report.checkpoint == published.checkpoint.fingerprint
    assert report.documents == len(scores["doc_id"]) == len(texts.heldout)
    assert report.characters == sum(map(len, texts.heldout)) == sum(scores["characters"])
    assert metric.value == pytest.approx(sum(scores["bits"]) / report.characters)
    assert metric.base == pytest.approx(sum(scores["bits_base"]) / report.characters)
    assert metric.interval[0] < metric.value < metric.interval[1] < metric.base
    assert metric.difference_interval[1] < 0 < metric.references["xz"]


def test_the_manifest_carries_the_headline_and_the_strictest_label(published: _Published) -> None:
    manifest = published.publication.manifest
    metric = json.loads((published.folder / "report.json").read_text())["metrics"][BITS_PER_CHARACTER]
    assert manifest.inputs == {
        "checkpoint": published.checkpoint.fingerprint,
        "corpus:manuals": published.corpus.fingerprint,
    }
    assert manifest.classification is Classification.CONFIDENTIAL
    assert manifest.counts[BITS_PER_CHARACTER] == metric["value"]
    assert manifest.counts[f"{BITS_PER_CHARACTER}_base"] == metric["base"]
    assert manifest.counts["xz"] == metric["references"]["xz"]


def test_progress_counts_windows_of_both_networks_to_their_end(published: _Published) -> None:
    for which in ("trained", "untrained"):
        last = [each for each in published.reports if each.stage == f"tiny: scoring, {which}"][-1]
        assert last.done == last.total


def test_asked_again_it_does_no_work(published: _Published) -> None:
    reports: list[Progress] = []
    again = _evaluate(published.store, published.checkpoint, published.corpus, reports.append)
    assert not again.fresh
    assert again.manifest == published.publication.manifest
    assert reports == []


def test_the_same_request_elsewhere_gives_the_same_fingerprint(
    published: _Published, checkpoint_folder: Path, texts: Texts, tmp_path: Path
) -> None:
    elsewhere = _Published(tmp_path, checkpoint_folder, texts)
    assert elsewhere.publication.manifest.fingerprint == published.publication.manifest.fingerprint


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "data", "action"}]
        assert not any(name.startswith("on") for name, _ in attrs)


def test_the_page_needs_nothing_beside_it_and_a_document_cannot_add_markup_to_it(published: _Published) -> None:
    page = (published.folder / "report.html").read_text()
    parser = _Links()
    parser.feed(page)
    assert len(parser.links) == 2
    assert all(link.startswith("data:image/svg+xml;base64,") for link in parser.links)
    assert "script" not in parser.tags
    assert "url(" not in page
    assert "@import" not in page
    assert "&lt;script&gt;" in page


def test_pictures_for_the_web_ui_stand_beside_the_page(published: _Published) -> None:
    for name in ("before_after.png",):
        assert (published.folder / name).read_bytes().startswith(b"\x89PNG")


def test_the_verdict_says_what_the_interval_says(published: _Published) -> None:
    report = Report.model_validate_json((published.folder / "report.json").read_bytes())
    metric = report.metrics[BITS_PER_CHARACTER]

    def with_difference(low: float, high: float) -> str:
        moved = metric.model_copy(update={"difference_interval": (low, high)})
        return verdict(report.model_copy(update={"metrics": {BITS_PER_CHARACTER: moved}}))

    assert "removed" in with_difference(-2, -1)
    assert "no difference" in with_difference(-1, 1)
    assert "worse" in with_difference(1, 2)
    assert "too few to settle" in compare_with_xz(metric.model_copy(update={"references": {"xz": metric.value}}))
    assert "fewer" in compare_with_xz(metric.model_copy(update={"references": {"xz": 2 * metric.interval[1]}}))


def test_a_damaged_checkpoint_is_named_and_refused_before_it_is_loaded(
    store: Store, checkpoint_folder: Path, texts: Texts
) -> None:
    checkpoint = publish_checkpoint(store, copy_of(checkpoint_folder))
    weights = store.open(checkpoint) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    reports: list[Progress] = []
    with pytest.raises(DataError, match=r"model\.safetensors does not match its SHA-256"):
        _evaluate(store, checkpoint, publish_corpus(store, texts.heldout), reports.append)
    assert not [each for each in reports if "scoring" in each.stage]


def test_weights_that_are_not_numbers_give_a_sentence_and_no_report(
    store: Store, checkpoint_folder: Path, texts: Texts
) -> None:
    def broken(folder: Path) -> None:
        copy_of(checkpoint_folder)(folder)
        weights = load_file(folder / "model.safetensors")
        weights["model.norm.weight"][0] = float("nan")
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    checkpoint = publish_checkpoint(store, broken)
    with pytest.raises(DataError, match=r"the checkpoint tiny/trained_checkpoint \w+ gives no finite likelihood"):
        _evaluate(store, checkpoint, publish_corpus(store, texts.heldout), lambda _: None)
    assert list(store.manifests("tiny", "evaluation_report")) == []


def test_a_killed_worker_is_a_fault_of_the_platform_and_leaves_nothing(
    store: Store, checkpoint_folder: Path, texts: Texts
) -> None:
    others = set(psutil.Process().children())

    def kill(progress: Progress) -> None:
        if "scoring" in progress.stage:
            for child in set(psutil.Process().children()) - others:
                child.kill()

    checkpoint, corpus = publish_checkpoint(store, copy_of(checkpoint_folder)), publish_corpus(store, texts.heldout)
    with pytest.raises(PlatformError, match=r"scoring process was killed .*run the same command again"):
        _evaluate(store, checkpoint, corpus, kill)
    assert list(store.manifests("tiny", "evaluation_report")) == []
    assert set(psutil.Process().children()) <= others


def test_a_worker_that_fails_names_its_last_words_and_its_log(
    store: Store, checkpoint_folder: Path, texts: Texts
) -> None:
    def torn(folder: Path) -> None:
        copy_of(checkpoint_folder)(folder)
        (folder / "model.safetensors").write_bytes(b"not weights")

    with pytest.raises(PlatformError, match=r"exit code 1 \(.*[Hh]eader.*\); see .*tiny-evaluation\.log"):
        _evaluate(store, publish_checkpoint(store, torn), publish_corpus(store, texts.heldout), lambda _: None)
