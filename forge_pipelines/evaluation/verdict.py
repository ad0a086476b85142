"""What a report says in sentences: what training did, what it made the model forget, how xz compares."""

from collections.abc import Mapping
from typing import Literal

from forge_pipelines.evaluation.report import (
    BITS_PER_CHARACTER,
    GENERAL_BITS_PER_CHARACTER,
    PREFERENCE_ACCURACY,
    Metric,
    Report,
)
from forge_pipelines.shards.config import Examples

Tone = Literal["better", "worse", "even"]

SEEN_AS: Mapping[Examples, str] = {"texts": "documents", "chats": "answers", "preferences": "better answers"}
"""What the figures of a model's own corpora are about."""


def verdict(report: Report) -> str:
    """Say in one sentence what training did to what it was made for."""
    return _preferring(report) if PREFERENCE_ACCURACY in report.metrics else _predicting(report)


def _preferring(report: Report) -> str:
    metric = report.metrics[PREFERENCE_ACCURACY]
    figures = f"in {_percent(metric.value)} of unseen pairs, against {_percent(metric.base)} before"
    finds = "finds the better of two answers likelier"
    match tone(metric):
        case "better":
            return f"Adapting {report.adapted_from} taught it to prefer: it {finds} {figures}."
        case "worse":
            return f"Adapting {report.adapted_from} made it worse at telling answers apart: it {finds} {figures}."
        case "even":
            return f"That adapting {report.adapted_from} taught it to prefer cannot be seen: it {finds} {figures}."


def _predicting(report: Report) -> str:
    metric = report.metrics[BITS_PER_CHARACTER]
    unseen = SEEN_AS[report.examples]
    done = f"Adapting {report.adapted_from}" if report.adapted_from else "Training"
    before = f"before {'adapting' if report.adapted_from else 'training'}"
    figures = f"{metric.value:.2f} bits a character, against {metric.base:.2f} {before}"
    match tone(metric):
        case "better":
            return f"{done} removed {_share(metric)} of the model's doubt about unseen {unseen}: {figures}."
        case "worse":
            return f"{done} made the model worse at unseen {unseen}: {figures}."
        case "even":
            return f"{done} made no difference on unseen {unseen} that these few can show: {figures}."


def forgetting(report: Report) -> str | None:
    """Say in one sentence what became of general text; None when the report does not measure it."""
    metric = report.metrics.get(GENERAL_BITS_PER_CHARACTER)
    if metric is None:
        return None
    base = report.adapted_from or "before training"
    more = f"needs {_share(metric)} {'more' if metric.difference > 0 else 'fewer'} bits a character than {base}"
    interval = in_words(metric.difference_interval, 3, sign=True)
    figures = f"{metric.value:.2f} against {metric.base:.2f}; the difference lies between {interval}"
    match tone(metric):
        case "better":
            return f"Nothing was forgotten: on general text, too, the model {more} ({figures})."
        case "worse":
            return f"Something was forgotten: on general text the model {more} ({figures})."
        case "even":
            return f"No forgetting can be seen: on general text the model {more}, which may be chance ({figures})."


def tone(metric: Metric) -> Tone:
    """Return ``better``, ``worse`` or ``even``: the side of zero on which the paired interval lies as a whole."""
    low, high = metric.difference_interval
    if low <= 0 <= high:
        return "even"
    return "better" if (high < 0) == (metric.direction == "lower") else "worse"


def compare_with_xz(metric: Metric) -> str:
    """Say in one sentence how the model stands beside a general-purpose compressor."""
    xz = metric.references["xz"]
    low, high = metric.interval
    relation = f"{_percent(abs(1 - metric.value / xz))} {'fewer' if metric.value < xz else 'more'}"
    relation += ", which these documents are too few to settle" if low <= xz <= high else ""
    return f"xz, a general-purpose compressor, needs {xz:.2f} on the same documents; the model needs {relation}."


def signed(number: float, digits: int) -> str:
    """Write a number with its sign, and a true minus."""
    return f"{number:+.{digits}f}".replace("-", "−")


def in_words(interval: tuple[float, float], digits: int, *, sign: bool = False) -> str:
    """Write an interval as ``1.20 and 1.35``, to stand after «between»; with ``sign``, as ``−0.10 and +0.02``."""
    low, high = (signed(end, digits) if sign else f"{end:.{digits}f}" for end in interval)
    return f"{low} and {high}"


def _share(metric: Metric) -> str:
    return _percent(abs(metric.difference) / metric.base)


def _percent(share: float) -> str:
    return f"{100 * share:.{0 if share >= 0.095 else 1}f}\u00a0%"
