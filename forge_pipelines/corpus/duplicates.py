"""Documents with the same canonical text: one of them is kept."""

from collections.abc import Mapping, Sequence

from forge_pipelines.corpus.steps import Outcome, reject
from forge_pipelines.manifest import Document, Rejection

RULE = "duplicate"


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
