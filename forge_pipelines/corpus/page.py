"""The corpus's report as one HTML page that needs nothing beside it. Documents are untrusted: all is escaped."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forge_pipelines.corpus.tally import Tally
from forge_pipelines.manifest import Rejection

PAGE = "report.html"


def render_page(
    corpus: str,
    classification: str,
    tally: Tally,
    near_copies: Mapping[str, Any],
    lengths: bytes,
    warnings: Sequence[str],
) -> str:
    """Return the page.

    Args:
        corpus: its name.
        classification: its label, shown at its head.
        tally: what became of the documents.
        near_copies: what there is to say of near-copies, as `Resolution.counts` gives it.
        lengths: the picture of documents' lengths, as SVG.
        warnings: a sentence for each expectation that only warns and does not hold, and for each source of which little
            is left.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.j2").render(
        corpus=corpus,
        classification=classification,
        counts=tally.counts(),
        sources=tally.by_source(),
        rules=_by_rule(tally),
        near_copies=near_copies,
        lengths=f"data:image/svg+xml;base64,{base64.b64encode(lengths).decode()}",
        warnings=warnings,
    )


def _by_rule(tally: Tally) -> Mapping[str, Sequence[tuple[str, int, Sequence[Rejection]]]]:
    """Return for each rule, the most rejecting first, each source with how many it lost, and samples of them."""
    total: Mapping[str, int] = tally.counts()["rejected_by_rule"]
    rules: dict[str, list[tuple[str, int, Sequence[Rejection]]]] = {
        rule: [] for rule, _ in sorted(total.items(), key=lambda item: (-item[1], item[0]))
    }
    for source, what in tally.by_source().items():
        for rule, count in what["rejected"].items():
            rules[rule].append((source, count, tally.samples()[source, rule]))
    return rules
