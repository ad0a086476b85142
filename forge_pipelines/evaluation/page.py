"""The report as one HTML page that needs nothing beside it. Documents and answers are untrusted: all is escaped."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from forge_pipelines.evaluation.report import (
    BITS_PER_CHARACTER,
    GENERAL_BITS_PER_CHARACTER,
    PREFERENCE_ACCURACY,
    Report,
)
from forge_pipelines.evaluation.scores import DocumentScore
from forge_pipelines.evaluation.verdict import SEEN_AS, compare_with_xz, forgetting, in_words, signed, tone, verdict

_SHOWN = 6


def render_page(
    report: Report,
    documents: Sequence[DocumentScore],
    pictures: Mapping[str, bytes],
    classification: str,
    fingerprints: Mapping[str, str],
) -> str:
    """Return the page.

    Args:
        report: the numbers and the answers.
        documents: every scored document, in any order; the best and the worst are shown.
        pictures: SVG images, by the names that the template uses.
        classification: the report's label, shown at its head.
        fingerprints: what the report was made from, by role.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"signed": signed, "in_words": in_words, "tone": tone}
    return environment.get_template("report.html.j2").render(
        report=report,
        metric=report.metrics[BITS_PER_CHARACTER],
        preferences=report.metrics.get(PREFERENCE_ACCURACY),
        general=report.metrics.get(GENERAL_BITS_PER_CHARACTER),
        verdict=verdict(report),
        forgetting=forgetting(report),
        yardstick=compare_with_xz(report.metrics[BITS_PER_CHARACTER]),
        words=_words(report),
        rankings=_rankings(documents),
        pictures={name: _data_uri(svg) for name, svg in pictures.items()},
        classification=classification,
        fingerprints=fingerprints,
    )


def _words(report: Report) -> Mapping[str, str]:
    """Return what the page calls the two networks, what stands between them, and what was scored."""
    scored = {"scored": SEEN_AS[report.examples], "before": "before"}
    if report.adapted_from:
        return {**scored, "base": report.adapted_from, "after": "adapted", "doing": "adapting"}
    return {**scored, "base": "the untrained network", "after": "trained", "doing": "training"}


def _rankings(documents: Sequence[DocumentScore]) -> list[tuple[str, Sequence[DocumentScore]]]:
    """Return the tables of documents, each with its title; the first two stand open on the page."""
    own = [document for document in documents if not document.text.general]
    general = [document for document in documents if document.text.general]
    by_change = sorted(own, key=lambda document: (document.change, document.text.doc_id))
    by_value = sorted(own, key=lambda document: (document.after, document.text.doc_id))
    forgotten = sorted(general, key=lambda document: (-document.change, document.text.doc_id))
    shown = min(_SHOWN, len(own) // 2)
    tables: list[tuple[str, Sequence[DocumentScore]]] = [
        ("Improved most", by_change[:shown]),
        ("Improved least", by_change[::-1][:shown]),
        ("Predicted best", by_value[:shown]),
        ("Predicted worst", by_value[::-1][:shown]),
    ]
    return [*tables, ("General text, most forgotten first", forgotten[:_SHOWN])] if general else tables


def _data_uri(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
