"""Published shards, opened: the sequences memory-mapped, and what stands in them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forge_pipelines.shards.order import CorpusRange, OrderSpec

SEQUENCES = "sequences.arrow"
DOCUMENTS = "documents.parquet"
SPANS = "spans.parquet"
CORPORA = "corpora.json"
TOKENIZER = "tokenizer"


@dataclass(frozen=True, slots=True)
class Shards:
    """A shards folder.

    Attributes:
        sequences: a memory-mapped `datasets.Dataset` with int32 columns ``input_ids``, ``position_ids`` and
            ``labels``, each of shape (T,). Positions restart at 0 with each document; labels are the input ids, and
            −100 at each document's first token and at padding.
        corpora: where each corpus stands.
    """

    sequences: Any
    corpora: tuple[CorpusRange, ...]
    tokenizer_folder: Path

    @property
    def num_sequences(self) -> int:
        """Sequences in all."""
        return len(self.sequences)

    @property
    def sequence_length(self) -> int:
        """Tokens a sequence (T)."""
        return int(self.sequences.features["input_ids"].length)

    def order(self, seed: int) -> OrderSpec:
        """Return the order of samples that a recipe's seed gives."""
        return OrderSpec(corpora=self.corpora, seed=seed)


def open_shards(folder: Path) -> Shards:
    """Open a verified shards folder; the sequences stay on the disk until they are read."""
    import datasets

    corpora = json.loads((folder / CORPORA).read_text())
    return Shards(
        sequences=datasets.Dataset.from_file(str(folder / SEQUENCES)),
        corpora=tuple(CorpusRange(**corpus) for corpus in corpora),
        tokenizer_folder=folder / TOKENIZER,
    )


def documents_in(folder: Path, sequences: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return the rows of `DOCUMENTS` of the documents that stand in sequences, in the order of the shards.

    Args:
        folder: a verified shards folder.
        sequences: rows of `SEQUENCES`, shape (n,).
    """
    spans = pq.read_table(folder / SPANS, columns=["doc_index", "sequence"])
    standing = np.isin(spans.column("sequence").to_numpy(), sequences)
    numbers = np.unique(spans.column("doc_index").to_numpy()[standing])
    rows: list[dict[str, Any]] = pq.read_table(folder / DOCUMENTS).take(numbers).to_pylist()
    return rows
