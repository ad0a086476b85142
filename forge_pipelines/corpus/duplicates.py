"""Documents with the same canonical text: one of them is kept."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forge_pipelines.columns import documents_of, rows_of
from forge_pipelines.corpus.steps import Outcome, reject
from forge_pipelines.manifest import Document, Rejection

RULE = "duplicate"


def drop_copies(documents: pa.Table, preference: Mapping[str, int]) -> tuple[pa.Table, Sequence[Rejection]]:
    """Return one document of each text, and the rejections of the others, as `drop_duplicates` does.

    Args:
        documents: `DOCUMENT_SCHEMA` of `columns`, in the order of ``text_sha256``, with all copies of each text.
        preference: place of each source in the corpus's list.
    """
    texts = documents.column("text_sha256")
    is_copy = np.zeros(len(texts) + 1, bool)
    if len(texts) > 1:
        is_copy[1:-1] = pc.equal(texts.slice(1), texts.slice(0, len(texts) - 1)).to_numpy()
    rows = np.flatnonzero(is_copy[:-1] | is_copy[1:])
    if not len(rows):
        return documents, []
    alike = documents_of(rows_of(documents, rows))
    outcome = drop_duplicates(alike, preference)
    survivors = {id(each) for each in outcome.kept}
    is_kept = np.ones(len(texts), bool)
    is_kept[rows] = [id(each) in survivors for each in alike]
    return rows_of(documents, np.flatnonzero(is_kept)), outcome.rejected


def drop_duplicates(documents: Sequence[Document], preference: Mapping[str, int]) -> Outcome:
    """Keep one document of each text, and reject the others with the survivor's name.

    The survivor is the one of the preferred source; within a source, the one whose ``uri`` (then ``doc_id``) comes
    first. So it does not depend on the order in which documents are read.

    Args:
        documents: a batch with all copies of each text in it.
        preference: place of each source in the corpus's list.
    """
    survivors: dict[str, Document] = {}
    for document in sorted(documents, key=lambda each: (preference[each.source], each.uri, each.doc_id)):
        survivors.setdefault(document.text_sha256, document)
    kept: list[Document] = []
    rejected: list[Rejection] = []
    for document in documents:
        survivor = survivors[document.text_sha256]
        if document is survivor:
            kept.append(document)
        else:
            reason = f"same text as {survivor.source}: {survivor.uri} ({survivor.doc_id[:12]})"
            rejected.append(reject(document, RULE, reason))
    return Outcome(kept, rejected)
