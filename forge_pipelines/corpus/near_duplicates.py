"""Near-copies of texts: one of them is kept, and what is near shares a part of the split.

Documents are added in batches, then all are resolved together, then each text is asked for. What is promised:

- Of two kept documents none is a copy of the other: their Jaccard similarity is below ``similarity``, unless the
  search missed the pair (`signatures` says how seldom). Each copy names its survivor and their exact similarity.
- Of two kept documents whose similarity is at least ``split_similarity``, found with the same recall, both are in one
  part of the split. A document near to some of either part is rejected: in neither could it keep this promise.
- What becomes of a document is settled by it and by those that come before it in the order of ``keep``. With ``oldest``
  a document added later, with a later date, moves and removes none that was there.
- The order in which documents are read changes nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from forge_pipelines.columns import RowNumbers, documents_of, rows_of
from forge_pipelines.corpus.bitmaps import Bitmaps
from forge_pipelines.corpus.buckets import I32, Buckets, Side
from forge_pipelines.corpus.clusters import Clusters, Limits, Near, cluster
from forge_pipelines.corpus.config import Split
from forge_pipelines.corpus.key_file import KeyFile
from forge_pipelines.corpus.membership import write_clusters
from forge_pipelines.corpus.near_duplicates_config import NearDuplicatesConfig
from forge_pipelines.corpus.precedence import NAMED_BY, distinct, labels_of, numbered, together
from forge_pipelines.corpus.shingle_file import ShingleFile
from forge_pipelines.corpus.shingles import U64
from forge_pipelines.corpus.sketches import Sketch
from forge_pipelines.corpus.split import Part, part_of
from forge_pipelines.corpus.steps import reject
from forge_pipelines.manifest import Document, Rejection

RULE = "near_duplicate"
TORN_RULE = "near_both_parts"

PARTS: tuple[Part, Part] = ("train", "heldout")


class NearDuplicates:
    """Collects the documents of a corpus, and finds near-copies; a context manager.

    In memory it keeps less than 1 KiB for each document, of which about 200 bytes are its names; what it is compared by
    stands in two files of the folder until the end.
    """

    def __init__(self, config: NearDuplicatesConfig, split: Split, preference: Mapping[str, int], folder: Path) -> None:
        """Begin with no documents.

        Args:
            config: what is a copy, what is near, and which copy is kept.
            split: how the part of a document is drawn that is near to none.
            preference: place of each source in the corpus's list.
            folder: where files may stand meanwhile: 8 bytes for each word and 192 for each document.
        """
        self._config, self._split, self._preference = config, split, preference
        self._open = ExitStack()
        self._shingles = self._open.enter_context(ShingleFile(folder / "shingles"))
        self._keys = self._open.enter_context(KeyFile(folder / "keys"))
        self._bitmaps = Bitmaps()
        self._labels: list[pa.Table] = []

    def add(self, documents: pa.Table, sketches: Sequence[Sketch | None]) -> None:
        """Add documents, copies among them, each with its sketch; None where near-copies are not looked for.

        Args:
            documents: `DOCUMENT_SCHEMA` of `columns`.
            sketches: one for each.
        """
        self._labels.append(labels_of(documents, self._preference))
        known = [sketch for sketch in sketches if sketch is not None]
        self._bitmaps.add([sketch.shingles for sketch in known])
        for sketch in known:
            self._shingles.add(sketch.shingles)
            self._keys.add(sketch.bands)

    def resolve(self, on_decided: Callable[[int], None] = lambda _: None) -> "Resolution":
        """Find the near-copies, and settle what becomes of each text. No document can be added after.

        Args:
            on_decided: is told now and then how many texts are decided on.
        """
        labels, rows, copies = distinct(together(self._labels))
        order, numbers = numbered(labels, self._config.keep)
        labels = labels.select(NAMED_BY)
        pa.default_memory_pool().release_unused()  # Arrow would keep what the labels stood in before
        texts = labels.column("text_sha256")
        sizes = self._shingles.finish()
        self._bitmaps.finish(sizes)
        places = rows[order]

        def draw(number: int) -> Side:
            return 1 if part_of(texts[int(order[number])].as_py(), self._split) == "heldout" else 0

        def read(number: int) -> U64:
            return self._shingles.read(int(places[number]))

        def most_alike(one: RowNumbers, other: RowNumbers) -> npt.NDArray[np.float64]:
            return self._bitmaps.most_alike(places[one], places[other])

        limits = Limits(self._config.similarity, self._config.split_similarity)
        clusters = cluster(self._buckets(sizes, places), read, most_alike, limits, draw, on_decided)
        return Resolution(labels, copies, order, numbers, clusters)

    def _buckets(self, sizes: npt.NDArray[np.int64], rows: RowNumbers) -> Buckets:
        """Return the buckets of documents in their order, by the row of each in the files."""
        if not self._config.enabled:
            return Buckets(np.zeros((len(rows), 0), np.uint32), np.zeros(len(rows), bool))
        places = np.full(len(sizes), -1, np.int32)
        places[rows] = np.arange(len(rows), dtype=np.int32)
        return Buckets(self._keys.read(places, len(rows)), sizes[rows] > 0)

    def __enter__(self) -> Self:
        """Return the collection itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the files away."""
        self._open.close()


class Resolution:
    """What becomes of each text, by its place in the order of the texts' hashes."""

    def __init__(self, labels: pa.Table, copies: pa.Table, order: I32, numbers: I32, clusters: Clusters) -> None:
        self._labels, self._copies = labels, copies
        self._order, self._numbers, self._clusters = order, numbers, clusters

    def verdict(self, row: int, document: Document) -> Part | Rejection:
        """Return the part of a document that is kept, or why it is not.

        Args:
            row: how many texts there are whose hash comes before this one's.
            document: the one that stands for the exact copies of its text, see `duplicates`.
        """
        assert self._labels.column("doc_id")[row].as_py() == document.doc_id, "in the order of the texts' hashes"
        number = int(self._numbers[row])
        survivor = Near(int(self._clusters.survivors[number]), float(self._clusters.jaccards[number]))
        if survivor.document != number:
            return reject(document, RULE, f"near-copy of {self._named(survivor)}")
        if number in self._clusters.torn:
            trained, heldout = self._clusters.torn[number]
            near = f"{self._named(trained)} in train and {self._named(heldout)} in heldout"
            return reject(document, TORN_RULE, f"near to {near}, and each part must have nothing near in the other")
        return PARTS[int(self._clusters.heldout[number])]

    def parts(self, row: int, doc_ids: pa.ChunkedArray) -> npt.NDArray[np.int8]:
        """Return the part of each of some documents, ``[documents]``: its place among `PARTS`, or -1 if it is not kept.

        Args:
            row: how many texts there are whose hash comes before the first one's.
            doc_ids: of those that stand for the next texts, in the order of the texts' hashes.
        """
        rows = slice(row, row + len(doc_ids))
        assert self._labels.column("doc_id")[rows].equals(doc_ids), "in the order of the texts' hashes"
        numbers = self._numbers[rows]
        parts = self._clusters.heldout[numbers].astype(np.int8)
        parts[self._clusters.survivors[numbers] != numbers] = -1
        parts[np.isin(numbers, [*self._clusters.torn])] = -1
        return parts

    def rejections(self, row: int, documents: pa.Table, parts: npt.NDArray[np.int8]) -> Iterator[Rejection]:
        """Yield the rejections of those documents that are not kept; ``row`` and ``parts`` are those of `parts`."""
        places = np.flatnonzero(parts < 0)
        for place, document in zip(places.tolist(), documents_of(rows_of(documents, places)), strict=True):
            verdict = self.verdict(row + place, document)
            assert isinstance(verdict, Rejection), "it has no part"
            yield verdict

    def write_clusters(self, path: Path) -> None:
        """Write all members of clusters, exact copies among them, as Parquet; see `membership`."""
        survivors = self._order[self._clusters.survivors[self._numbers]]
        write_clusters(path, self._labels, self._copies, survivors, self._clusters.jaccards[self._numbers])

    def counts(self) -> Mapping[str, Any]:
        """Return how many near-copies there are, of how many survivors, and the most of one."""
        survivors = self._clusters.survivors
        is_copy = survivors != np.arange(len(survivors))
        sizes = np.unique(survivors[is_copy], return_counts=True)[1]
        return {
            "near_duplicates": int(is_copy.sum()),
            "near_duplicate_clusters": len(sizes),
            "largest_near_duplicate_cluster": int(sizes.max(initial=0)) + (len(sizes) > 0),
            "near_both_parts": len(self._clusters.torn),
        }

    def _named(self, near: Near) -> str:
        labels = self._labels.slice(int(self._order[near.document]), 1).to_pylist()[0]
        alike = f"Jaccard similarity {near.jaccard:.2f}"
        return f"{labels['source']}: {labels['uri']} ({labels['doc_id'][:12]}, {alike})"
