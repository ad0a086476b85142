"""What a report says: its schema, and the metrics that the suites give. No torch, no input or output here."""

from collections.abc import Mapping
from typing import Any, Literal

from forge_pipelines.manifest import Value

BITS_PER_CHARACTER = "heldout/bits_per_character"

METRICS: Mapping[str, str] = {
    BITS_PER_CHARACTER: "How many bits the model needs, on average, to predict one character of documents that it was "
    "not trained on.",
}
"""Every metric that a gate may name, with its description."""


class Metric(Value):
    """One number of a report, of the checkpoint and of the base it is compared with.

    Attributes:
        value: the checkpoint's.
        interval: 95 % confidence interval of ``value``.
        base: the base's.
        difference: ``value`` minus ``base``.
        difference_interval: 95 % confidence interval of ``difference``, paired by document.
        references: what other means reach on the same items, by name (``"xz"``).
        direction: which side is better.
    """

    value: float
    interval: tuple[float, float]
    base: float
    difference: float
    difference_interval: tuple[float, float]
    references: Mapping[str, float]
    direction: Literal["lower", "higher"]
    unit: str
    description: str


class Report(Value):
    """The contents of ``report.json``.

    Attributes:
        model: the model's name.
        checkpoint: fingerprint of the checkpoint that was measured.
        metrics: by name, a subset of `METRICS`.
        documents: held-out documents scored.
        characters: characters scored, over all documents.
        settings: the evaluation's configuration, and what the base is.
    """

    model: str
    checkpoint: str
    metrics: Mapping[str, Metric]
    documents: int
    characters: int
    settings: Mapping[str, Any]
