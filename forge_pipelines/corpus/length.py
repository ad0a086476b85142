"""Documents that are too short to learn from, or too long to be one document."""

from collections.abc import Sequence

from forge_pipelines.corpus.config import LengthBounds
from forge_pipelines.corpus.steps import Outcome, reject
from forge_pipelines.manifest import Document, Rejection

RULE = "length"


def bound_length(documents: Sequence[Document], bounds: LengthBounds) -> Outcome:
    """Reject documents whose canonical text has fewer or more characters than the bounds allow."""
    kept: list[Document] = []
    rejected: list[Rejection] = []
    for document in documents:
        characters = len(document.text)
        if characters < bounds.min_characters:
            reason = f"{characters} characters, fewer than {bounds.min_characters}"
            rejected.append(reject(document, RULE, reason))
        elif characters > bounds.max_characters:
            reason = f"{characters} characters, more than {bounds.max_characters}"
            rejected.append(reject(document, RULE, reason))
        else:
            kept.append(document)
    return Outcome(kept, rejected)
