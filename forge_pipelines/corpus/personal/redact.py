"""The step: what is found in documents is replaced by typed placeholders, or rejects the document."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from forge_pipelines.corpus.personal.config import PersonalDataConfig
from forge_pipelines.corpus.personal.findings import Found, Kind
from forge_pipelines.corpus.personal.search import PersonalDataSearch
from forge_pipelines.corpus.steps import Outcome, reject
from forge_pipelines.manifest import Document, Rejection, Segment, sha256_text

RULE = "personal_data"


def redact_personal(documents: Sequence[Document], config: PersonalDataConfig) -> Outcome:
    """Replace personal data and secrets segment by segment and recompute ``text_sha256``, or reject, by kind.

    The outcome counts what was replaced in documents that are kept, by document and kind. What is found is found by
    shape and check digits; `benchmarks/personal_data.py` shows how much of it, and how much else.

    Raises:
        ConfigError: the folder of names cannot be used.
    """
    search = PersonalDataSearch(config)
    kept: list[Document] = []
    rejected: list[Rejection] = []
    redactions: Counter[tuple[str, str]] = Counter()
    for document in documents:
        redacted, counts = _redacted(document, search)
        refused = [kind for kind in counts if config.action(kind) == "reject"]
        if refused:
            rejected.append(reject(redacted, RULE, _reason(counts, refused)))
        else:
            kept.append(redacted)
            redactions.update({(document.doc_id, kind.value): count for kind, count in counts.items()})
    return Outcome(kept, rejected, redactions)


def replaced(text: str, findings: Sequence[Found]) -> str:
    """Return a text with a placeholder in the place of each finding; they stand in order and do not overlap."""
    parts: list[str] = []
    done = 0
    for found in findings:
        parts += (text[done : found.start], found.kind.placeholder)
        done = found.stop
    return "".join((*parts, text[done:]))


def _redacted(document: Document, search: PersonalDataSearch) -> tuple[Document, Counter[Kind]]:
    """Return the document with all findings replaced, also those that reject it: its excerpt must not show them."""
    counts: Counter[Kind] = Counter()
    segments: list[Segment] = []
    for segment in document.segments:
        findings = search.find(segment.text)
        counts.update(found.kind for found in findings)
        segments.append(Segment(segment.role, replaced(segment.text, findings)))
    if not counts:
        return document, counts
    changed = replace(document, segments=tuple(segments))
    return replace(changed, text_sha256=sha256_text(changed.text)), counts


def _reason(counts: Counter[Kind], refused: Sequence[Kind]) -> str:
    found = ", ".join(f"{kind.value} ({counts[kind]})" for kind in sorted(refused))
    return f"has {found}, which the corpus rejects"
