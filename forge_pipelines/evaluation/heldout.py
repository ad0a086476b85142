"""Which documents are scored: held out of corpora, each text once, cut to the same length."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from forge_pipelines.corpus.reading import HELDOUT, TRAIN, read_heldout
from forge_pipelines.errors import DataError
from forge_pipelines.evaluation.config import EvaluationConfig
from forge_pipelines.manifest import Document


@dataclass(frozen=True, slots=True)
class ScoredText:
    """The part of a document that is scored; ``general`` tells general text from the model's own corpora."""

    doc_id: str
    source: str
    uri: str
    text: str
    general: bool


def choose_texts(corpora: Mapping[str, Path], config: EvaluationConfig) -> list[ScoredText]:
    """Return the first ``max_documents`` held-out documents by text hash, each cut to ``max_characters``.

    A text that stands in several corpora is scored once, and not at all where one of them trains on it.

    Args:
        corpora: verified folder of each validated corpus that the model is trained on, by name.
        config: how many documents, and how much of each.

    Raises:
        DataError: fewer than two documents are held out.
    """
    # Each corpus keeps its own two parts apart; only another corpus, with a split of its own, can train on a text.
    trained_on = _hashes(corpora.values(), TRAIN) if len(corpora) > 1 else set()
    return _choose(corpora, trained_on, config, general=False)


def choose_general_texts(
    general: Mapping[str, Path], own: Mapping[str, Path], config: EvaluationConfig
) -> list[ScoredText]:
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
    return _choose(general, excluded, config, general=True)


def _choose(
    corpora: Mapping[str, Path], excluded: Container[str], config: EvaluationConfig, *, general: bool
) -> list[ScoredText]:
    documents: dict[str, Document] = {}
    for folder in corpora.values():
        for document in read_heldout(folder):
            if document.text_sha256 not in excluded:
                known = documents.get(document.text_sha256, document)
                documents[document.text_sha256] = min(known, document, key=lambda each: each.doc_id)
    if len(documents) < 2:
        title = f"{', '.join(sorted(corpora))}{' (evaluation.general)' if general else ''}"
        raise DataError(
            f"{len(documents)} documents are held out of {title}, and an evaluation needs at least two; raise "
            "split.heldout_fraction of the corpus or add documents"
        )
    first = sorted(documents.values(), key=lambda document: document.text_sha256)[: config.max_documents]
    return [
        ScoredText(each.doc_id, each.source, each.uri, each.text[: config.max_characters], general) for each in first
    ]


def _hashes(folders: Iterable[Path], part: str) -> set[str]:
    tables = (pq.read_table(folder / part, columns=["text_sha256"]) for folder in folders)
    return {text_sha256 for table in tables for text_sha256 in table["text_sha256"].to_pylist()}
