"""What a report says: its schema, and the metrics that the suites give. No torch, no input or output here."""

from collections.abc import Mapping
from typing import Any, Literal

from forge_pipelines.evaluation.config import EvaluationConfig
from forge_pipelines.manifest import Value
from forge_pipelines.shards.config import Examples

BITS_PER_CHARACTER = "heldout/bits_per_character"
GENERAL_BITS_PER_CHARACTER = "general/bits_per_character"
PREFERENCE_ACCURACY = "heldout/preference_accuracy"
PREFERENCE_MARGIN = "heldout/preference_margin"

METRICS: Mapping[str, str] = {
    BITS_PER_CHARACTER: "How many bits the model needs, on average, to predict one character of documents that it was "
    "not trained on; of chats, of their answers, and of preferences, of the better ones.",
    GENERAL_BITS_PER_CHARACTER: "The same for general text, which the model is not adapted to: more than the base "
    "needs is what it forgot.",
    PREFERENCE_ACCURACY: "Of how many pairs that it was not trained on the model finds the better answer likelier than "
    "the worse one.",
    PREFERENCE_MARGIN: "How many bits likelier it finds the better answer, on average.",
}
"""Every metric that a gate may name, with its description."""

NEEDS: Mapping[str, str] = {
    GENERAL_BITS_PER_CHARACTER: "evaluation.general is set",
    PREFERENCE_ACCURACY: "training.objective is dpo",
    PREFERENCE_MARGIN: "training.objective is dpo",
}
"""When a model's report gives a metric; one that is not here is always given."""


def metrics_of(config: EvaluationConfig, examples: Examples = "texts") -> Mapping[str, str]:
    """Return the metrics that a model's report will give, with their descriptions: those that its gates may name.

    Args:
        examples: what the model learns from.
    """
    given = {BITS_PER_CHARACTER}
    given |= {GENERAL_BITS_PER_CHARACTER} if config.general else set()
    given |= {PREFERENCE_ACCURACY, PREFERENCE_MARGIN} if examples == "preferences" else set()
    return {name: text for name, text in METRICS.items() if name in given}


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


class Answer(Value):
    """What both models answer to a question, each with its likeliest tokens; one cut at the limit ends with ``…``."""

    question: str
    checkpoint: str
    base: str


class Report(Value):
    """The contents of ``report.json``.

    Attributes:
        model: the model's name.
        checkpoint: fingerprint of the checkpoint that was measured.
        adapted_from: name of the open model that it was adapted from, and that it is compared with; None when it was
            trained from scratch and is compared with its own network before training.
        metrics: by name, a subset of `METRICS`.
        examples: what of held-out documents is scored: texts, the answers of chats, or both answers of preferences.
        documents: held-out documents scored, of the model's own corpora.
        characters: characters of those documents that were scored; of preferences, of the better answers.
        general_documents: general documents scored.
        general_characters: characters of those.
        answers: to the questions of the configuration, in its order.
        settings: the evaluation's configuration, and what the base is.
    """

    model: str
    checkpoint: str
    adapted_from: str | None = None
    metrics: Mapping[str, Metric]
    examples: Examples = "texts"
    documents: int
    characters: int
    general_documents: int = 0
    general_characters: int = 0
    answers: tuple[Answer, ...] = ()
    settings: Mapping[str, Any]

    def headline(self) -> Mapping[str, float | str]:
        """Return the numbers that a person looks at first, flat: the counts of the report's manifest."""
        flat: dict[str, float | str] = {"documents": self.documents, "characters": self.characters}
        if self.adapted_from is not None:
            flat["adapted_from"] = self.adapted_from
        if self.general_documents:
            flat |= {"general_documents": self.general_documents, "general_characters": self.general_characters}
        for name, metric in self.metrics.items():
            low, high = metric.difference_interval
            flat |= {name: metric.value, f"{name}_base": metric.base}
            flat |= {f"{name}_difference_low": low, f"{name}_difference_high": high}
            prefix = "" if name == BITS_PER_CHARACTER else f"{name.partition('/')[0]}/"
            flat |= {f"{prefix}{other}": value for other, value in metric.references.items()}
        return flat
