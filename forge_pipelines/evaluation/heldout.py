"""Which documents are scored: held out of corpora, each text once, cut to the same length."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from forge_pipelines.corpus.reading import HELDOUT, TRAIN, read_heldout
from forge_pipelines.errors import DataError
from forge_pipelines.evaluation.config import EvaluationConfig
from forge_pipelines.evaluation.scored import ScoredText
from forge_pipelines.manifest import Document

Cut = Callable[[Document], Sequence[ScoredText]]
"""What of a document is scored; nothing of one that has nothing to score."""


def choose(
    corpora: Mapping[str, Path], config: EvaluationConfig, cut: Cut, replayed: str | None = None
) -> list[ScoredText]:
    """Return what is scored of the first ``max_documents`` held-out documents by text hash that have such a thing.

    A text that stands in several corpora is scored once, and not at all where one of them trains on it.

    Args:
        corpora: verified folder of each validated corpus that the model is trained on, by name.
        config: how many documents.
        cut: what of each; see `whole_text` and `conversations`.
        replayed: the corpus of general text that it was trained on along with the others, of which none is scored.

    Raises:
        DataError: fewer than two documents are held out, or have something to score.
    """
    # Each corpus keeps its own two parts apart; only another corpus, with a split of its own, can train on a text.
    trained_on = _hashes(corpora.values(), TRAIN) if len(corpora) > 1 else set()
    own = {name: folder for name, folder in corpora.items() if name != replayed}
    return _choose(own, trained_on, config, cut, title=", ".join(sorted(own)))


def choose_general(general: Mapping[str, Path], own: Mapping[str, Path], config: EvaluationConfig) -> list[ScoredText]:
    """Return as many documents at most, held out of corpora of general text, that stand in no corpus of the model.

    Args:
        general: verified folder of each corpus of general text, by name; none gives no documents.
        own: verified folder of each corpus that the model is trained on, by name.
        config: how many documents, and how much of each.

    Raises:
        DataError: fewer than two documents are left.
    """
    if not general:
        return []
    excluded = _hashes(own.values(), TRAIN) | _hashes(own.values(), HELDOUT)
    title = f"{', '.join(sorted(general))} (evaluation.general)"
    return _choose(general, excluded, config, whole_text(config, general=True), title)


def whole_text(config: EvaluationConfig, *, general: bool) -> Cut:
    """Score a document's text, up to ``max_characters``."""

    def cut(document: Document) -> Sequence[ScoredText]:
        text = document.text[: config.max_characters]
        return [ScoredText(document.doc_id, document.source, document.uri, text, general)]

    return cut


def _choose(
    corpora: Mapping[str, Path], excluded: Container[str], config: EvaluationConfig, cut: Cut, title: str
) -> list[ScoredText]:
    documents: dict[str, Document] = {}
    for folder in corpora.values():
        for document in read_heldout(folder):
            if document.text_sha256 not in excluded:
                known = documents.get(document.text_sha256, document)
                documents[document.text_sha256] = min(known, document, key=lambda each: each.doc_id)
    chosen: list[Sequence[ScoredText]] = []
    for text_sha256 in sorted(documents):
        if len(chosen) < config.max_documents and (scored := cut(documents[text_sha256])):
            chosen.append(scored)
    if len(chosen) < 2:
        few, advice = f"{len(chosen)} documents are held out of {title}", ""
        if len(documents) > len(chosen):
            few = f"of {len(documents)} documents that are held out of {title} {len(chosen)} can be scored"
            advice = "raise evaluation.max_characters where their answers end beyond it, "
        raise DataError(
            f"{few}, and an evaluation needs at least two; {advice}raise split.heldout_fraction of the corpus or add "
            "documents"
        )
    return [scored for of_document in chosen for scored in of_document]


def _hashes(folders: Iterable[Path], part: str) -> set[str]:
    tables = (pq.read_table(folder / part, columns=["text_sha256"]) for folder in folders)
    return {text_sha256 for table in tables for text_sha256 in table["text_sha256"].to_pylist()}
