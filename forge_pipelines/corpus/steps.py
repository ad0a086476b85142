"""What every step of cleaning has in common: a batch of documents goes in, kept and rejected documents come out."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from forge_pipelines.manifest import Document, Rejection

STAGE = "validated_corpus"
_EXCERPT_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step made of a batch: each document of the batch is either kept (perhaps changed) or rejected.

    Attributes:
        redactions: how often a step replaced something in documents that it kept, by their ``doc_id`` and what it was.
    """

    kept: Sequence[Document]
    rejected: Sequence[Rejection] = ()
    redactions: Counter[tuple[str, str]] = field(default_factory=Counter)


Step = Callable[[Sequence[Document]], Outcome]
"""A rule of the corpus. It sees batches in any order; `drop_duplicates` alone is given all copies of a text at once."""


def reject(document: Document, rule: str, reason: str) -> Rejection:
    """Reject a document by a rule, with the reason in words."""
    return Rejection(
        doc_id=document.doc_id,
        source=document.source,
        uri=document.uri,
        stage=STAGE,
        rule=rule,
        reason=reason,
        excerpt=document.text[:_EXCERPT_CHARACTERS],
    )
