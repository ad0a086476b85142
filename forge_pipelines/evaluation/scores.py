"""What the networks scored, document by document: the table of it, and the metric that it adds up to."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from forge_pipelines.errors import DataError
from forge_pipelines.evaluation.base import Base
from forge_pipelines.evaluation.compression import xz_bits_per_character
from forge_pipelines.evaluation.config import EvaluationConfig
from forge_pipelines.evaluation.intervals import compare_ratios
from forge_pipelines.evaluation.report import METRICS, PREFERENCE_ACCURACY, PREFERENCE_MARGIN, Metric
from forge_pipelines.evaluation.scored import ScoredText
from forge_pipelines.manifest import Manifest

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
        return len(self.text.scored)

    @property
    def after(self) -> float:
        """Bits a character under the checkpoint."""
        return self.bits / self.characters

    @property
    def before(self) -> float:
        """Bits a character under the base."""
        return self.bits_base / self.characters

    @property
    def change(self) -> float:
        """By which share the bits changed: −0.1 is a tenth fewer."""
        return self.bits / self.bits_base - 1

    @property
    def excerpt(self) -> str:
        """The beginning of what is scored, on one line."""
        return " ".join(self.text.scored[: 2 * _EXCERPT_CHARACTERS].split())[:_EXCERPT_CHARACTERS]


def compare_bits(metric: str, documents: Sequence[DocumentScore], config: EvaluationConfig) -> Metric:
    """Return bits a character of both networks over the documents, with intervals, and xz's beside them."""
    compared = compare_ratios(
        [document.bits for document in documents],
        [document.bits_base for document in documents],
        [document.characters for document in documents],
        num_resamples=config.bootstrap_samples,
        seed=config.seed,
    )
    return Metric(
        value=compared.value,
        interval=compared.interval,
        base=compared.base,
        difference=compared.difference,
        difference_interval=compared.difference_interval,
        references={"xz": xz_bits_per_character([document.text.scored for document in documents])},
        direction="lower",
        unit="bits/character",
        description=METRICS[metric],
    )


def compare_preferences(documents: Sequence[DocumentScore], config: EvaluationConfig) -> Mapping[str, Metric]:
    """Return how often, and by how much, both networks find the better answers likelier, with intervals.

    Args:
        documents: of each pair the better answer, then the worse one.
        config: how the intervals are made.
    """
    chosen, rejected = documents[::2], documents[1::2]
    margins = [
        (worse.bits - better.bits, worse.bits_base - better.bits_base)
        for better, worse in zip(chosen, rejected, strict=True)
    ]
    rights = [(float(after > 0), float(before > 0)) for after, before in margins]
    return {
        PREFERENCE_ACCURACY: _a_pair(PREFERENCE_ACCURACY, rights, "of pairs", config),
        PREFERENCE_MARGIN: _a_pair(PREFERENCE_MARGIN, margins, "bits/pair", config),
    }


def _a_pair(metric: str, pairs: Sequence[tuple[float, float]], unit: str, config: EvaluationConfig) -> Metric:
    """Return a mean over pairs, of which each has a figure of the checkpoint and one of the base."""
    after, before = zip(*pairs, strict=True)
    compared = compare_ratios(after, before, [1] * len(pairs), num_resamples=config.bootstrap_samples, seed=config.seed)
    return Metric(
        value=compared.value,
        interval=compared.interval,
        base=compared.base,
        difference=compared.difference,
        difference_interval=compared.difference_interval,
        references={},
        direction="higher",
        unit=unit,
        description=METRICS[metric],
    )


def require_finite(documents: Iterable[DocumentScore], checkpoint: Manifest, base: Base) -> None:
    """Refuse figures that are not numbers.

    Raises:
        DataError: naming the network that gave them, and the document.
    """
    trained = f"the checkpoint {checkpoint.name}/{checkpoint.kind} {checkpoint.fingerprint[:12]}"
    for document in documents:
        if not math.isfinite(document.bits):
            raise DataError(_broken(trained, document, "train again with a lower learning rate"))
        if not math.isfinite(document.bits_base):
            advice = "import it again" if base.manifest else "change the recipe's architecture"
            raise DataError(_broken(base.title, document, advice))


def _broken(network: str, document: DocumentScore, advice: str) -> str:
    return f"{network} gives no finite likelihood for {document.text.uri}, so its weights are broken; {advice}"


def write_scores(documents: Iterable[DocumentScore], path: Path) -> None:
    """Write one row a scored text: whose it is, whether it is general, what of it was scored, its length, its bits."""
    rows = [
        {
            "doc_id": document.text.doc_id,
            "source": document.text.source,
            "general": document.text.general,
            "part": document.text.part,
            "characters": document.characters,
            "tokens": document.tokens,
            "bits": document.bits,
            "bits_base": document.bits_base,
        }
        for document in documents
    ]
    pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")
