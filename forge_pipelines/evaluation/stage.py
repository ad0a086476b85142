"""Checkpoint → evaluation report. It knows nothing of the registry: gates compare reports, not models."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from forge_pipelines.errors import DataError
from forge_pipelines.evaluation.compression import xz_bits_per_character
from forge_pipelines.evaluation.config import EvaluationConfig
from forge_pipelines.evaluation.heldout import choose_texts
from forge_pipelines.evaluation.intervals import compare_ratios
from forge_pipelines.evaluation.page import DocumentScore, render_page
from forge_pipelines.evaluation.pictures import draw_before_after
from forge_pipelines.evaluation.report import BITS_PER_CHARACTER, METRICS, Metric, Report
from forge_pipelines.evaluation.scoring import Scores, ScoringJob, score_texts
from forge_pipelines.manifest import Classification, Manifest, StageRequest, code_version
from forge_pipelines.progress import OnProgress, Progress, silent
from forge_pipelines.store import Made, Publication, Store
from forge_pipelines.training.pictures import draw_loss

KIND = "evaluation_report"
CODE_VERSION = "1"

REPORT, SCORES, PAGE = "report.json", "scores.parquet", "report.html"
BEFORE_AFTER_PICTURE = "before_after.png"


@dataclass(frozen=True, slots=True)
class EvaluationEnvironment:
    """Where an evaluation runs; nothing of it shapes the report.

    Attributes:
        log_folder: where the scoring process's log is appended to.
        num_gpus: devices that the step holds; with 0 it runs on the CPU.
    """

    log_folder: Path
    num_gpus: int


def evaluate(
    name: str,
    checkpoint: Manifest,
    corpora: Mapping[str, Manifest],
    config: EvaluationConfig,
    store: Store,
    environment: EvaluationEnvironment,
    on_progress: OnProgress = silent,
) -> Publication:
    """Measure a checkpoint on held-out documents beside its base, and publish the report.

    The base of a model trained from scratch is its own network before training, rebuilt from ``config.json`` and
    the recipe's seed.

    Args:
        name: the model's name.
        checkpoint: a ``trained_checkpoint``.
        corpora: the ``validated_corpus`` manifests that the model was made from, by name.
        config: on what, and how much, it is measured.
        store: where the inputs stand and the report is published.
        environment: where the scoring process runs.
        on_progress: told how far the evaluation is.

    Raises:
        DataError: an input is damaged, no documents are held out, or the checkpoint gives no finite figure.
        PlatformError: the scoring process was killed.
    """
    request = StageRequest(
        kind=KIND,
        name=name,
        inputs={
            "checkpoint": checkpoint.fingerprint,
            **{f"corpus:{corpus}": manifest.fingerprint for corpus, manifest in corpora.items()},
        },
        parameters=config.model_dump(mode="json", exclude={"gpus"}),
        code_version=code_version(CODE_VERSION, "torch", "transformers", "tokenizers", "matplotlib"),
    )
    evaluation = _Evaluation(request, checkpoint, corpora, config, store, environment, on_progress)
    return store.obtain(request, evaluation.make)


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """One evaluation at work."""

    request: StageRequest
    checkpoint: Manifest
    corpora: Mapping[str, Manifest]
    config: EvaluationConfig
    store: Store
    environment: EvaluationEnvironment
    on_progress: OnProgress

    def make(self, staging: Path) -> Made:
        self._tell("verifying the checkpoint and the corpora")
        checkpoint_folder = self.store.open(self.checkpoint)
        corpus_folders = {name: self.store.open(manifest) for name, manifest in self.corpora.items()}
        texts = choose_texts(corpus_folders, self.config)
        scores = self._score([text.text for text in texts], checkpoint_folder)
        rows = zip(texts, scores.tokens, scores.bits, scores.bits_base, strict=True)
        documents = [DocumentScore(*row) for row in rows]
        self._require_finite(documents)
        self._tell("compressing with xz")
        xz = xz_bits_per_character([text.text for text in texts])
        report = self._report(documents, xz, scores.context_tokens)
        classification = Classification.strictest(
            manifest.classification for manifest in (self.checkpoint, *self.corpora.values())
        )
        self._tell("drawing")
        (staging / REPORT).write_text(report.model_dump_json(indent=2) + "\n")
        write_scores(documents, staging / SCORES)
        history = json.loads((checkpoint_folder / "history.json").read_text())
        self._draw(staging, report, documents, history, classification)
        return Made(counts=flat_counts(report), classification=classification)

    def _tell(self, what: str) -> None:
        self.on_progress(Progress(stage=f"{self.request.name}: {what}"))

    def _score(self, texts: Sequence[str], checkpoint_folder: Path) -> Scores:
        workspace = self.store.workspace(self.request)
        device: Literal["cpu", "cuda"] = "cuda" if self.environment.num_gpus else "cpu"
        job = ScoringJob(
            model=self.request.name,
            checkpoint=checkpoint_folder,
            untrained_seed=self._seed,
            device=device,
            workspace=workspace,
        )
        log = self.environment.log_folder / f"{self.request.name}-evaluation.log"
        try:
            return score_texts(texts, job, log, self.on_progress)
        finally:
            shutil.rmtree(workspace)

    @property
    def _seed(self) -> int:
        return int(self.checkpoint.parameters["seed"])

    def _require_finite(self, documents: Sequence[DocumentScore]) -> None:
        for document in documents:
            if not math.isfinite(document.bits + document.bits_base):
                which = "untrained network" if math.isfinite(document.bits) else "checkpoint"
                title = f"{self.checkpoint.name}/{self.checkpoint.kind} {self.checkpoint.fingerprint[:12]}"
                raise DataError(
                    f"{title}: the {which} gives no finite likelihood for {document.text.uri}, so its weights are "
                    "broken; train again with a lower learning rate"
                )

    def _report(self, documents: Sequence[DocumentScore], xz: float, context_tokens: int) -> Report:
        characters = [document.characters for document in documents]
        compared = compare_ratios(
            [document.bits for document in documents],
            [document.bits_base for document in documents],
            characters,
            num_resamples=self.config.bootstrap_samples,
            seed=self.config.seed,
        )
        metric = Metric(
            value=compared.value,
            interval=compared.interval,
            base=compared.base,
            difference=compared.difference,
            difference_interval=compared.difference_interval,
            references={"xz": xz},
            direction="lower",
            unit="bits/character",
            description=METRICS[BITS_PER_CHARACTER],
        )
        base = f"the same network before training (seed {self._seed})"
        return Report(
            model=self.request.name,
            checkpoint=self.checkpoint.fingerprint,
            metrics={BITS_PER_CHARACTER: metric},
            documents=len(documents),
            characters=sum(characters),
            settings={**self.request.parameters, "context_tokens": context_tokens, "base": base},
        )

    def _draw(
        self,
        staging: Path,
        report: Report,
        documents: Sequence[DocumentScore],
        history: Sequence[Mapping[str, Any]],
        classification: Classification,
    ) -> None:
        spread = [each.after for each in documents], [each.before for each in documents]
        xz = report.metrics[BITS_PER_CHARACTER].references["xz"]
        (staging / BEFORE_AFTER_PICTURE).write_bytes(draw_before_after(*spread, xz, "png"))
        pictures = {"loss": draw_loss(history, "svg"), "before_after": draw_before_after(*spread, xz, "svg")}
        page = render_page(report, documents, pictures, classification, self.request.inputs)
        (staging / PAGE).write_text(page)


def write_scores(documents: Sequence[DocumentScore], path: Path) -> None:
    """Write one row a document: ``doc_id``, ``source``, ``characters``, ``tokens``, ``bits``, ``bits_base``."""
    rows = [
        {
            "doc_id": document.text.doc_id,
            "source": document.text.source,
            "characters": document.characters,
            "tokens": document.tokens,
            "bits": document.bits,
            "bits_base": document.bits_base,
        }
        for document in documents
    ]
    pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")


def flat_counts(report: Report) -> Mapping[str, float]:
    """Return a report's headline numbers, flat, for the manifest."""
    counts: dict[str, float] = {"documents": report.documents, "characters": report.characters}
    for name, metric in report.metrics.items():
        counts |= {name: metric.value, f"{name}_base": metric.base, **metric.references}
    return counts
