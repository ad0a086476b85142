"""What a published training consumed at which step: computed from its order, for a log would be as large as the data.

World size, accumulation and restarts do not appear here: which batch of samples a step reads, `batches` says.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forge_pipelines.corpus.reading import TABLE
from forge_pipelines.errors import ConfigError
from forge_pipelines.manifest import Manifest
from forge_pipelines.shards.masking import masked_texts
from forge_pipelines.shards.order import CorpusRange, OrderSpec, samples_of, sequences_of
from forge_pipelines.shards.reading import CORPORA, DOCUMENTS, SPANS
from forge_pipelines.store import Store
from forge_pipelines.training.batches import batch_of

_CORPUS = "corpus:"
_IDENTITY = ("doc_index", "doc_id", "corpus", "source")

Predicate = Callable[[pa.Table], Any]
"""Tells of a table of n rows which are wanted: an Arrow array of truth values, shape (n,)."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A sample that holds tokens of a document.

    Attributes:
        step: the optimizer step that read it, counted from 1.
        epoch: the epoch that it is in, counted from 1; one has as many samples as there are sequences.
        sample: its number in the order, counted from 0.
        tokens: how many of its tokens are the document's.
    """

    step: int
    epoch: int
    sample: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Consumed:
    """A document that stands in the shards, and what was read of it, in the order of samples.

    Attributes:
        uri: where it stands in its source; None where its corpus is no longer in the store.
        masked: it is masked in the shards: padding was read in its place.
    """

    doc_id: str
    corpus: str
    source: str
    uri: str | None
    readings: tuple[Reading, ...]
    masked: bool = False

    @property
    def tokens(self) -> int:
        """How many tokens of it were read."""
        return sum(reading.tokens for reading in self.readings)


class Consumption:
    """What one training consumed.

    Args:
        store: holds the training, its shards, and perhaps still their corpora.
        checkpoint: the training's `trained_checkpoint` manifest.

    Raises:
        DataError: the shards are not in the store, or damaged.
    """

    def __init__(self, store: Store, checkpoint: Manifest) -> None:
        self.store = store
        self.model = checkpoint.name
        self.num_steps = int(checkpoint.counts["steps"])
        self.batch_sequences = int(checkpoint.parameters["batch_sequences"])
        self.skipped_batches = sorted(checkpoint.counts.get("skipped_batches", ()))
        self._shards = store.published(checkpoint.name, "tokenized_shards", checkpoint.inputs["shards"])
        self._opened: dict[str, dict[str, Path]] = {}
        self._files = self.files_of(self._shards, CORPORA, DOCUMENTS, SPANS)
        self.order = order_of(self._files[CORPORA], int(checkpoint.parameters["seed"]))

    @property
    def num_samples(self) -> int:
        """Samples of the order that the training came past, those of skipped batches among them."""
        return (batch_of(self.num_steps, self.skipped_batches) + 1) * self.batch_sequences

    @cached_property
    def corpora(self) -> Mapping[str, Manifest | None]:
        """The model's corpora by name; None for one that is no longer in the store."""
        roles = {role: made for role, made in self._shards.inputs.items() if role.startswith(_CORPUS)}
        names = {role.removeprefix(_CORPUS): made for role, made in roles.items()}
        return {name: stored(self.store, name, "validated_corpus", made) for name, made in names.items()}

    @cached_property
    def _masked(self) -> frozenset[int]:
        texts, columns = masked_texts(self._shards), ["doc_index", "text_sha256"]
        rows = rows_where(self._files[DOCUMENTS], among("text_sha256", texts), columns) if texts else ()
        return frozenset(row["doc_index"] for row in rows)

    def of_step(self, step: int) -> list[Consumed]:
        """Return the documents that a step consumed, in the order of its samples, with what it read of each.

        Raises:
            ConfigError: the training has no such step.
            DataError: a corpus is damaged.
        """
        if not 1 <= step <= self.num_steps:
            steps = f"steps 1 to {self.num_steps}" if self.num_steps > 1 else "step 1 alone"
            raise ConfigError(f"{self.model} was trained for {steps}, so there is no step {step}; ask for one of these")
        first = batch_of(step, self.skipped_batches) * self.batch_sequences
        samples = np.arange(first, first + self.batch_sequences)
        rows = sequences_of(self.order, samples)
        spans = [*rows_where(self._files[SPANS], among("sequence", np.unique(rows)))]
        return self._consumed(samples, rows, spans)

    def of_documents(self, doc_ids: Collection[str], corpus: str) -> list[Consumed]:
        """Return those documents of a corpus that stand in the shards, with all that was ever read of each.

        Raises:
            DataError: the corpus is damaged.
        """
        documents = self._known(among("doc_id", doc_ids))
        known = {index: row for index, row in documents.items() if row["corpus"] == corpus}
        spans = [*rows_where(self._files[SPANS], among("doc_index", known))]
        sequences = np.array([span["sequence"] for span in spans], dtype=np.int64)
        samples = samples_of(self.order, sequences, self.num_samples)
        consumed = self._consumed(samples, sequences_of(self.order, samples), spans)
        read = {each.doc_id for each in consumed}
        unread = (index for index, row in known.items() if row["doc_id"] not in read)
        return [*consumed, *self._named(dict.fromkeys(unread, ()))]

    def ids_in(self, corpus: str, is_wanted: Predicate) -> list[str]:
        """Return the ids of a corpus's documents that stand in the shards and are wanted."""
        return [row["doc_id"] for row in self._known(is_wanted).values() if row["corpus"] == corpus]

    def files_of(self, manifest: Manifest, *paths: str) -> Mapping[str, Path]:
        """Return some of a publication's files by their path, verified; one that it does not have is left out.

        The others are neither hashed nor fetched: sequences and texts are large, and no question here is about them.

        Raises:
            DataError: one is missing or does not match its hash.
        """
        opened = self._opened.setdefault(manifest.fingerprint, {})
        entries = tuple(entry for entry in manifest.files if entry.path in {*paths, *opened})
        if len(entries) > len(opened):
            folder = self.store.open(manifest.model_copy(update={"files": entries}))
            opened |= {entry.path: folder / entry.path for entry in entries}
        return {path: opened[path] for path in paths if path in opened}

    def _consumed(
        self, samples: NDArray[np.int64], rows: NDArray[np.int64], spans: Sequence[Mapping[str, int]]
    ) -> list[Consumed]:
        """Return the documents of some spans, with their readings: of samples and of what each reads, shape (n,)."""
        by_sequence: defaultdict[int, list[Mapping[str, int]]] = defaultdict(list)
        for span in spans:
            if span["doc_index"] not in self._masked:
                by_sequence[span["sequence"]].append(span)
        readings: defaultdict[int, list[Reading]] = defaultdict(list)
        batches = samples // self.batch_sequences
        steps = batches - np.searchsorted(self.skipped_batches, batches) + 1
        read = ~np.isin(batches, self.skipped_batches)
        for step, sample, row in zip(*(each[read].tolist() for each in (steps, samples, rows)), strict=True):
            epoch = sample // self.order.num_sequences + 1
            for span in by_sequence[row]:
                readings[span["doc_index"]].append(Reading(step, epoch, sample, span["length"]))
        return self._named({index: tuple(of_document) for index, of_document in readings.items()})

    def _known(self, is_wanted: Predicate) -> Mapping[int, Mapping[str, Any]]:
        rows = rows_where(self._files[DOCUMENTS], is_wanted, _IDENTITY)
        return {row["doc_index"]: row for row in rows}

    def _named(self, readings: Mapping[int, tuple[Reading, ...]]) -> list[Consumed]:
        known = self._known(among("doc_index", readings))
        uris = self._uris(known.values())
        return [
            Consumed(
                row["doc_id"],
                row["corpus"],
                row["source"],
                uris.get((row["corpus"], row["doc_id"])),
                readings[index],
                index in self._masked,
            )
            for index, row in ((index, known[index]) for index in readings)
        ]

    def _uris(self, documents: Collection[Mapping[str, Any]]) -> Mapping[tuple[str, str], str]:
        found: dict[tuple[str, str], str] = {}
        for corpus in {document["corpus"] for document in documents}:
            made = self.corpora[corpus]
            doc_ids = {document["doc_id"] for document in documents if document["corpus"] == corpus}
            for path in self.files_of(made, TABLE).values() if made else ():
                rows = rows_where(path, among("doc_id", doc_ids), ("doc_id", "uri"))
                found |= {(corpus, row["doc_id"]): row["uri"] for row in rows}
        return found


def order_of(path: Path, seed: int) -> OrderSpec:
    """Return the order of samples that a file `CORPORA` and a recipe's seed give."""
    return OrderSpec(corpora=tuple(CorpusRange(**each) for each in json.loads(path.read_text())), seed=seed)


def stored(store: Store, name: str, kind: str, fingerprint: str) -> Manifest | None:
    """Return a manifest by its fingerprint, or None when it is no longer in the store."""
    return next((each for each in store.manifests(name, kind) if each.fingerprint == fingerprint), None)


def rows_where(path: Path, is_wanted: Predicate, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield some rows of a Parquet file in their order, in memory a row group at a time; by default all columns."""
    with pq.ParquetFile(path) as file:
        groups = (file.read_row_group(group, columns=columns) for group in range(file.num_row_groups))
        yield from chain.from_iterable(table.filter(is_wanted(table)).to_pylist() for table in groups)


def among(column: str, values: Collection[Any] | NDArray[np.int64]) -> Predicate:
    """Tell which rows have one of some values in a column."""
    return lambda table: pc.is_in(table[column], value_set=pa.array(list(values), table[column].type))
