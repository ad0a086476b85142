"""What the networks scored, document by document: the table of it, and the metric that it adds up to."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from forge_pipelines.errors import DataError
from forge_pipelines.evaluation.base import Base
from forge_pipelines.evaluation.compression import xz_bits_per_character
from forge_pipelines.evaluation.config import EvaluationConfig
from forge_pipelines.evaluation.heldout import ScoredText
from forge_pipelines.evaluation.intervals import compare_ratios
from forge_pipelines.evaluation.report import METRICS, Metric
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
    def change(self) -> float:
        """By which share the bits changed: −0.1 is a tenth fewer."""
        return self.bits / self.bits_base - 1

    @property
    def excerpt(self) -> str:
        """The beginning of the text on one line."""
        return " ".join(self.text.text[: 2 * _EXCERPT_CHARACTERS].split())[:_EXCERPT_CHARACTERS]


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
        references={"xz": xz_bits_per_character([document.text.text for document in documents])},
        direction="lower",
        unit="bits/character",
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
    """Write one row a document: what it is, whether it is general text, its length, its bits under both networks."""
    rows = [
        {
            "doc_id": document.text.doc_id,
            "source": document.text.source,
            "general": document.text.general,
            "characters": document.characters,
            "tokens": document.tokens,
            "bits": document.bits,
            "bits_base": document.bits_base,
        }
        for document in documents
    ]
    pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")
