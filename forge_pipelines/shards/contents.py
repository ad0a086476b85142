"""What stands in shards, document by document and corpus by corpus; and what was rejected, by which rule and why."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from forge_pipelines.manifest import Rejection
from forge_pipelines.shards.filling import Taken
from forge_pipelines.shards.order import CorpusRange
from forge_pipelines.shards.reading import CORPORA, DOCUMENTS
from forge_pipelines.tables import TableWriter

DOCUMENT_COLUMNS = pa.schema(
    [
        ("doc_index", pa.int32()),
        ("doc_id", pa.string()),
        ("text_sha256", pa.string()),
        ("corpus", pa.string()),
        ("source", pa.string()),
        ("num_tokens", pa.int32()),
        ("num_labels", pa.int32()),
    ]
)


@dataclass(slots=True)
class Contents:
    """What has been put into the shards so far.

    Args:
        rejections: takes each rejection.
    """

    rejections: TableWriter
    documents: list[dict[str, Any]] = field(default_factory=list)
    corpora: list[CorpusRange] = field(default_factory=list)
    num_left_out: int = 0
    _rejected: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _examples: dict[tuple[str, str, str], Rejection] = field(default_factory=dict)

    def add(self, corpus: str, outcome: Taken | Rejection) -> None:
        """Note what became of a document of a corpus."""
        if isinstance(outcome, Rejection):
            self.rejections.add(outcome)
            by = (corpus, outcome.source, outcome.rule)
            self._rejected[by] += 1
            self._examples.setdefault(by, outcome)
            return
        row = {
            "doc_index": len(self.documents),
            "doc_id": outcome.document.doc_id,
            "text_sha256": outcome.document.text_sha256,
            "corpus": corpus,
            "source": outcome.document.source,
            "num_tokens": outcome.num_tokens,
            "num_labels": outcome.num_labels,
        }
        self.documents.append(row)
        self.num_left_out += outcome.num_left_out

    @property
    def num_seen(self) -> int:
        """Documents that were taken or rejected."""
        return len(self.documents) + self._rejected.total()

    def labels_by_source(self) -> dict[str, int]:
        """Return how many tokens of each source are learned, sorted by source."""
        totals: Counter[str] = Counter()
        for document in self.documents:
            totals[document["source"]] += document["num_labels"]
        return dict(sorted(totals.items()))

    def rejected_by_rule(self) -> dict[str, int]:
        """Return how many documents each rule rejected, sorted by rule."""
        totals: Counter[str] = Counter()
        for (_, _, rule), count in self._rejected.items():
            totals[rule] += count
        return dict(sorted(totals.items()))

    def why_not(self, *, corpus: str | None = None, source: str | None = None) -> str:
        """Say why most documents of a corpus or a source were rejected, with an example; nothing if none was."""
        counts: Counter[str] = Counter()
        examples: dict[str, Rejection] = {}
        for by, count in self._rejected.items():
            if by[0] == (corpus or by[0]) and by[1] == (source or by[1]):
                counts[by[2]] += count
                examples.setdefault(by[2], self._examples[by])
        if not counts:
            return ""
        [(rule, count)] = counts.most_common(1)
        were = "document was" if count == 1 else "documents were"
        return f": {count:,} {were} rejected by {rule}, such as {examples[rule].uri}, which {examples[rule].reason}"

    def write(self, folder: Path) -> None:
        """Write which documents there are, and where each corpus stands."""
        table = pa.Table.from_pylist(self.documents, DOCUMENT_COLUMNS)
        pq.write_table(table, folder / DOCUMENTS, compression="zstd")
        (folder / CORPORA).write_text(json.dumps([corpus.model_dump() for corpus in self.corpora], indent=2) + "\n")

    def counts(self) -> Mapping[str, Any]:
        """Return what a manifest counts of them."""
        labels, rejected = self.labels_by_source(), self.rejected_by_rule()
        return {
            "sequences": sum(corpus.num_sequences for corpus in self.corpora),
            "documents": len(self.documents),
            "tokens": sum(document["num_tokens"] for document in self.documents),
            "trainable_tokens": sum(labels.values()),
            "trainable_tokens_by_source": labels,
            "answers_left_out": self.num_left_out,
            "rejected": sum(rejected.values()),
            "rejected_by_rule": rejected,
        }
