"""Published shards, opened: the sequences memory-mapped, and what stands in them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forge_pipelines.manifest import Value
from forge_pipelines.shards.config import Examples
from forge_pipelines.shards.order import CorpusRange, OrderSpec

STAGE = "tokenized_shards"

SEQUENCES = "sequences.arrow"
DOCUMENTS = "documents.parquet"
SPANS = "spans.parquet"
CORPORA = "corpora.json"
LAYOUT = "layout.json"
REJECTIONS = "rejections.parquet"
TOKENIZER = "tokenizer"


class ShardsLayout(Value):
    """What the rows of `SEQUENCES` are: the file `LAYOUT`.

    Attributes:
        sequence_length: tokens a sequence (T); of pairs, the most that a prompt and one of its answers have together.
    """

    examples: Examples
    sequence_length: int


@dataclass(frozen=True, slots=True)
class Shards:
    """A shards folder.

    Attributes:
        sequences: a memory-mapped `datasets.Dataset`. Of texts and chats it has the int32 columns ``input_ids``,
            ``position_ids`` and ``labels``, each of shape (T,). Positions restart at 0 with each document; labels are
            the input ids, and −100 at each document's first token, at padding, and at what is no answer of a chat. Of
            preferences, a row is a pair, with the lists of int32 ``prompt_ids``, ``chosen_ids`` and ``rejected_ids``.
        corpora: where each corpus stands.
        examples: what the rows are.
        sequence_length: tokens a sequence (T); no prompt of a pair is longer together with one of its answers.
    """

    sequences: Any
    corpora: tuple[CorpusRange, ...]
    tokenizer_folder: Path
    examples: Examples
    sequence_length: int

    @property
    def num_sequences(self) -> int:
        """Sequences in all."""
        return len(self.sequences)

    def order(self, seed: int) -> OrderSpec:
        """Return the order of samples that a recipe's seed gives."""
        return OrderSpec(corpora=self.corpora, seed=seed)


def open_shards(folder: Path) -> Shards:
    """Open a verified shards folder; the sequences stay on the disk until they are read."""
    import datasets

    corpora = json.loads((folder / CORPORA).read_text())
    layout = ShardsLayout.model_validate_json((folder / LAYOUT).read_bytes())
    return Shards(
        sequences=datasets.Dataset.from_file(str(folder / SEQUENCES)),
        corpora=tuple(CorpusRange(**corpus) for corpus in corpora),
        tokenizer_folder=folder / TOKENIZER,
        examples=layout.examples,
        sequence_length=layout.sequence_length,
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
