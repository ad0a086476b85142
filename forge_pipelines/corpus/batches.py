"""The documents of a corpus's sources, some at a time: what a process is given at once, and is held in memory."""

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from forge_pipelines.columns import characters_of
from forge_pipelines.manifest import Manifest, Name
from forge_pipelines.store import Store
from forge_pipelines.tables import read_document_tables

DOCUMENTS = "documents.parquet"
_BATCH_DOCUMENTS = 256
_BATCH_CHARACTERS = 2 << 20


def batches_of(
    sources: Sequence[Manifest], store: Store, on_batch: Callable[[Name, int, int], None] = lambda *_: None
) -> Iterator[pa.Table]:
    """Yield all documents, `DOCUMENT_SCHEMA` of `columns`, source by source.

    Args:
        sources: the manifests of the sources.
        store: where they are.
        on_batch: is told the source of each batch, how many documents it has, and how many characters they have.

    Raises:
        DataError: a source is damaged.
    """
    for manifest in sources:
        for documents in read_document_tables(store.open(manifest) / DOCUMENTS):
            lengths = characters_of(documents)
            for start, end in _spans(lengths.tolist()):
                on_batch(manifest.name, end - start, int(lengths[start:end].sum()))
                yield documents.slice(start, end - start)


def _spans(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield where batches begin and end among documents of some lengths, in characters."""
    start = num_characters = 0
    for end, length in enumerate(lengths, 1):
        num_characters += length
        if end - start == _BATCH_DOCUMENTS or num_characters >= _BATCH_CHARACTERS or end == len(lengths):
            yield start, end
            start, num_characters = end, 0
