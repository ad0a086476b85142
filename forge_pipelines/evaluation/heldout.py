"""Which documents are scored: held out of every corpus of the model, each text once, cut to the same length."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from forge_pipelines.corpus.reading import TRAIN, read_heldout
from forge_pipelines.errors import DataError
from forge_pipelines.evaluation.config import EvaluationConfig
from forge_pipelines.manifest import Document


@dataclass(frozen=True, slots=True)
class ScoredText:
    """The part of a held-out document that is scored."""

    doc_id: str
    source: str
    uri: str
    text: str


def choose_texts(corpora: Mapping[str, Path], config: EvaluationConfig) -> list[ScoredText]:
    """Return the first ``max_documents`` held-out documents by text hash, each cut to ``max_characters``.

    A text that stands in several corpora is scored once, and not at all where one of them trains on it.

    Args:
        corpora: verified folder of each validated corpus, by name.
        config: how many documents, and how much of each.

    Raises:
        DataError: fewer than two documents are held out.
    """
    documents: dict[str, Document] = {}
    for folder in corpora.values():
        for document in read_heldout(folder):
            known = documents.get(document.text_sha256, document)
            documents[document.text_sha256] = min(known, document, key=lambda each: each.doc_id)
    for text_sha256 in _trained_on(corpora):
        documents.pop(text_sha256, None)
    if len(documents) < 2:
        raise DataError(
            f"{len(documents)} documents are held out of {', '.join(sorted(corpora))}, and an evaluation needs at "
            "least two; raise split.heldout_fraction of the corpus or add documents"
        )
    first = sorted(documents.values(), key=lambda document: document.text_sha256)[: config.max_documents]
    return [ScoredText(each.doc_id, each.source, each.uri, each.text[: config.max_characters]) for each in first]


def _trained_on(corpora: Mapping[str, Path]) -> set[str]:
    # Each corpus keeps its own two parts apart; only another corpus, with a split of its own, can train on a text.
    if len(corpora) == 1:
        return set()
    tables = (pq.read_table(folder / TRAIN, columns=["text_sha256"]) for folder in corpora.values())
    return {text_sha256 for table in tables for text_sha256 in table["text_sha256"].to_pylist()}
