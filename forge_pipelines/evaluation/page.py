"""The report as one HTML page that needs nothing beside it. Documents are untrusted: all that they say is escaped."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from forge_pipelines.evaluation.heldout import ScoredText
from forge_pipelines.evaluation.report import BITS_PER_CHARACTER, Metric, Report

_SHOWN = 10
_EXCERPT_CHARACTERS = 140


@dataclass(frozen=True, slots=True)
class DocumentScore:
    """A scored document: bits of its text under the checkpoint and under the base, over so many tokens."""

    text: ScoredText
    tokens: int
    bits: float
    bits_base: float

    @property
    def characters(self) -> int:
        """Characters scored."""
        return len(self.text.text)

    @property
    def after(self) -> float:
        """Bits a character under the checkpoint."""
        return self.bits / self.characters

    @property
    def before(self) -> float:
        """Bits a character under the base."""
        return self.bits_base / self.characters

    @property
    def excerpt(self) -> str:
        """The beginning of the text on one line."""
        return " ".join(self.text.text[: 2 * _EXCERPT_CHARACTERS].split())[:_EXCERPT_CHARACTERS]


def render_page(
    report: Report,
    documents: Sequence[DocumentScore],
    pictures: Mapping[str, bytes],
    classification: str,
    fingerprints: Mapping[str, str],
) -> str:
    """Return the page.

    Args:
        report: the numbers.
        documents: every scored document, in any order; the best and the worst are shown.
        pictures: SVG images, by the names that the template uses.
        classification: the report's label, shown at its head.
        fingerprints: what the report was made from, by role.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    ranked = sorted(documents, key=lambda document: (document.after, document.text.doc_id))
    shown = min(_SHOWN, len(ranked) // 2)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["signed"] = _signed
    return environment.get_template("report.html.j2").render(
        report=report,
        metric=report.metrics[BITS_PER_CHARACTER],
        verdict=verdict(report.metrics[BITS_PER_CHARACTER]),
        yardstick=compare_with_xz(report.metrics[BITS_PER_CHARACTER]),
        ranking={"Predicted best": ranked[:shown], "Predicted worst": ranked[::-1][:shown]},
        pictures={name: _data_uri(svg) for name, svg in pictures.items()},
        classification=classification,
        fingerprints=fingerprints,
    )


def verdict(metric: Metric) -> str:
    """Say in one sentence what training did."""
    low, high = metric.difference_interval
    figures = f"{metric.value:.2f} bits a character, against {metric.base:.2f} before training"
    if high < 0:
        share = -metric.difference / metric.base
        return f"Training removed {share:.0%} of the model's doubt about unseen text: {figures}."
    if low > 0:
        return f"Training made the model worse at unseen text: {figures}."
    return f"Training made no difference on unseen text that these documents can show: {figures}."


def compare_with_xz(metric: Metric) -> str:
    """Say in one sentence how the model stands beside a general-purpose compressor."""
    xz = metric.references["xz"]
    low, high = metric.interval
    relation = f"{abs(1 - metric.value / xz):.0%} {'fewer' if metric.value < xz else 'more'}"
    relation += ", which these documents are too few to settle" if low <= xz <= high else ""
    return f"xz, a general-purpose compressor, needs {xz:.2f} on the same documents; the model needs {relation}."


def _signed(number: float, digits: int) -> str:
    return f"{number:+.{digits}f}".replace("-", "−")


def _data_uri(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
