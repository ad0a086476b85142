"""Checkpoint → evaluation report. It knows nothing of the registry: gates compare reports, not models."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from forge_pipelines.corpus.reading import HELDOUT_ROLE
from forge_pipelines.errors import DataError
from forge_pipelines.evaluation.base import Base, find_base
from forge_pipelines.evaluation.config import EvaluationConfig, check_general
from forge_pipelines.evaluation.conversations import answers_of, pairs_of
from forge_pipelines.evaluation.heldout import Cut, choose, choose_general, whole_text
from forge_pipelines.evaluation.page import render_page
from forge_pipelines.evaluation.pictures import draw_paired, draw_spread
from forge_pipelines.evaluation.reading import REPORT
from forge_pipelines.evaluation.report import BITS_PER_CHARACTER, GENERAL_BITS_PER_CHARACTER, Answer, Report
from forge_pipelines.evaluation.scored import ScoredText
from forge_pipelines.evaluation.scores import (
    DocumentScore,
    compare_bits,
    compare_preferences,
    require_finite,
    write_scores,
)
from forge_pipelines.evaluation.scoring import Items, Scores, ScoringJob, Shown, score
from forge_pipelines.manifest import Classification, Manifest, StageRequest, code_version
from forge_pipelines.progress import OnProgress, Progress, silent
from forge_pipelines.shards.chats import ChatTemplate
from forge_pipelines.shards.config import Examples
from forge_pipelines.store import Made, Publication, Store
from forge_pipelines.training.config import EXAMPLES
from forge_pipelines.training.kept import model_alone
from forge_pipelines.training.pictures import draw_loss

KIND = "evaluation_report"
CODE_VERSION = "4"

SCORES, PAGE = "scores.parquet", "report.html"
BEFORE_AFTER_PICTURE = "before_after.png"

_CORPUS, _GENERAL, _REPLAY = "corpus:", "general:", "replay:"


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

    Of a model that learned the answers of chats those alone are scored, given what was said before them; of one that
    learned from preferences, both answers of each.

    The base is the open model that the checkpoint was adapted from. That of a model trained from scratch is its own
    network before training, rebuilt from ``config.json`` and the recipe's seed.

    Args:
        name: the model's name.
        checkpoint: a ``trained_checkpoint``.
        corpora: the ``validated_corpus`` manifests that the model was made from, and those of ``config.general``.
        config: on what, and how much, it is measured.
        store: where the inputs stand and the report is published.
        environment: where the scoring process runs.
        on_progress: told how far the evaluation is.

    Raises:
        ConfigError: the model was trained on a corpus that ``config.general`` names.
        DataError: an input is missing or damaged, too few documents are held out, or a network gives no finite figure;
            or a corpus that the model was made from may hold what is held out of a general one.
        PlatformError: the scoring process was killed.
    """
    shards = store.published(checkpoint.name, "tokenized_shards", checkpoint.inputs["shards"])
    check_general(config.general, [role.removeprefix(_CORPUS) for role in shards.inputs if role.startswith(_CORPUS)])
    _require_decontaminated(corpora, config.general)
    base = find_base(checkpoint, store)
    replayed = (shards.parameters.get("replay") or {}).get("corpus")
    others = {**dict.fromkeys(config.general, _GENERAL), **({replayed: _REPLAY} if replayed else {})}
    request = StageRequest(
        kind=KIND,
        name=name,
        inputs={
            "checkpoint": checkpoint.fingerprint,
            **base.inputs,
            **{f"{others.get(corpus, _CORPUS)}{corpus}": made.fingerprint for corpus, made in corpora.items()},
        },
        parameters=config.model_dump(mode="json", exclude={"gpus"}),
        code_version=code_version(CODE_VERSION, "torch", "transformers", "tokenizers", "matplotlib"),
    )
    evaluation = _Evaluation(request, checkpoint, base, corpora, replayed, config, store, environment, on_progress)
    return store.obtain(request, evaluation.make)


def _require_decontaminated(corpora: Mapping[str, Manifest], general: Sequence[str]) -> None:
    for name in sorted(set(corpora) - set(general)):
        for other in general:
            if corpora[name].inputs.get(f"{HELDOUT_ROLE}{other}") != corpora[other].fingerprint:
                raise DataError(
                    f"corpus {name} may hold text that is held out of {other}, on which the model would be measured: "
                    f"it was not made with this version of {other}; run `forge run {name}`, and train again"
                )


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """One evaluation at work."""

    request: StageRequest
    checkpoint: Manifest
    base: Base
    corpora: Mapping[str, Manifest]
    replayed: str | None
    config: EvaluationConfig
    store: Store
    environment: EvaluationEnvironment
    on_progress: OnProgress

    def make(self, staging: Path) -> Made:
        self._tell("verifying the checkpoint, its base and the corpora")
        checkpoint_folder = self.store.open(model_alone(self.checkpoint))
        base_folder = self.store.open(self.base.manifest) if self.base.manifest else None
        texts = self._choose_texts(checkpoint_folder)
        scores = self._score(texts, checkpoint_folder, base_folder)
        rows = zip(texts, scores.tokens, scores.checkpoint.bits, scores.base.bits, strict=True)
        documents = [DocumentScore(*row) for row in rows]
        require_finite(documents, self.checkpoint, self.base)
        self._tell("comparing and drawing")
        report = self._report(documents, scores)
        (staging / REPORT).write_text(report.model_dump_json(indent=2) + "\n")
        write_scores(documents, staging / SCORES)
        self._draw(staging, report, _without_worse(documents), checkpoint_folder)
        return Made(counts=report.headline(), classification=self._classification)

    def _tell(self, what: str) -> None:
        self.on_progress(Progress(stage=f"{self.request.name}: {what}"))

    @property
    def _classification(self) -> Classification:
        base = [self.base.manifest] if self.base.manifest else []
        manifests = (self.checkpoint, *base, *self.corpora.values())
        return Classification.strictest(manifest.classification for manifest in manifests)

    @property
    def _examples(self) -> Examples:
        # Checkpoints of versions that knew no objectives learned from texts.
        return EXAMPLES[self.checkpoint.parameters.get("objective", "continue")]

    def _choose_texts(self, checkpoint: Path) -> list[ScoredText]:
        folders = {name: self.store.open(manifest) for name, manifest in self.corpora.items()}
        general = {name: folders.pop(name) for name in self.config.general}
        own = choose(folders, self.config, self._cut(checkpoint), self.replayed)
        return [*own, *choose_general(general, folders, self.config)]

    def _cut(self, checkpoint: Path) -> Cut:
        if self._examples == "texts":
            return whole_text(self.config, general=False)
        cut = answers_of if self._examples == "chats" else pairs_of
        return cut(ChatTemplate.of(checkpoint), self.config)

    def _score(self, texts: Sequence[ScoredText], checkpoint_folder: Path, base_folder: Path | None) -> Scores:
        workspace = self.store.workspace(self.request)
        device: Literal["cpu", "cuda"] = "cuda" if self.environment.num_gpus else "cpu"
        job = ScoringJob(
            model=self.request.name,
            checkpoint=checkpoint_folder,
            base=base_folder,
            untrained_seed=self.base.seed,
            max_context_tokens=self.config.max_context_tokens,
            answer_tokens=self.config.answer_tokens,
            device=device,
            workspace=workspace,
        )
        items = Items(
            texts=tuple(Shown(text=text.text, spans=text.spans) for text in texts), questions=self.config.questions
        )
        log = self.environment.log_folder / f"{self.request.name}-evaluation.log"
        try:
            return score(items, job, log, self.on_progress)
        finally:
            shutil.rmtree(workspace)

    def _report(self, documents: Sequence[DocumentScore], scores: Scores) -> Report:
        own = [document for document in _without_worse(documents) if not document.text.general]
        general = [document for document in documents if document.text.general]
        suites = {BITS_PER_CHARACTER: own, GENERAL_BITS_PER_CHARACTER: general}
        metrics = {name: compare_bits(name, scored, self.config) for name, scored in suites.items() if scored}
        if self._examples == "preferences":
            metrics |= compare_preferences([each for each in documents if not each.text.general], self.config)
        answers = zip(self.config.questions, scores.checkpoint.answers, scores.base.answers, strict=True)
        return Report(
            model=self.request.name,
            checkpoint=self.checkpoint.fingerprint,
            adapted_from=self.base.name,
            metrics=metrics,
            examples=self._examples,
            documents=len(own),
            characters=sum(document.characters for document in own),
            general_documents=len(general),
            general_characters=sum(document.characters for document in general),
            answers=tuple(Answer(question=q, checkpoint=new, base=old) for q, new, old in answers),
            settings={
                **{name: value for name, value in self.request.parameters.items() if name != "questions"},
                "context_tokens": scores.context_tokens,
                "precision": scores.precision,
                "base": self.base.title,
            },
        )

    def _draw(self, staging: Path, report: Report, documents: Sequence[DocumentScore], checkpoint: Path) -> None:
        def before_after(image_format: Literal["svg", "png"]) -> bytes:
            if report.adapted_from:
                return draw_paired(documents, report.adapted_from, image_format)
            return draw_spread(documents, report.metrics[BITS_PER_CHARACTER].references["xz"], image_format)

        (staging / BEFORE_AFTER_PICTURE).write_bytes(before_after("png"))
        history = json.loads((checkpoint / "history.json").read_text())
        pictures = {"loss": draw_loss(history, "svg"), "before_after": before_after("svg")}
        page = render_page(report, documents, pictures, self._classification, self.request.inputs)
        (staging / PAGE).write_text(page)


def _without_worse(documents: Sequence[DocumentScore]) -> list[DocumentScore]:
    """Return all but the worse answers of preferences, which are scored to be compared with the better ones alone."""
    return [document for document in documents if document.text.part != "rejected"]
