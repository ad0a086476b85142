"""Which of two documents comes first: the order in which near-copies are decided on, and so which of them is kept."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forge_pipelines.corpus.buckets import I32
from forge_pipelines.manifest import Document

LABEL_SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("text_sha256", pa.string()),
        ("source", pa.dictionary(pa.int32(), pa.string())),
        ("uri", pa.string()),
        ("retrieved_at", pa.string()),
        ("preference", pa.int32()),
        ("characters", pa.int64()),
    ]
)
COPY_SCHEMA = pa.schema([("doc_id", pa.string()), ("text_sha256", pa.string())])

_TIES = (("preference", "ascending"), ("uri", "ascending"), ("doc_id", "ascending"))
_ORDERS = MappingProxyType(
    {
        "oldest": (("retrieved_at", "ascending"), *_TIES),
        "longest": (("characters", "descending"), *_TIES),
        "preferred_source": _TIES,
    }
)


def labels_of(
    documents: Sequence[Document], exact_copies: Sequence[Document], preference: Mapping[str, int]
) -> pa.RecordBatch:
    """Return what is remembered of documents, `LABEL_SCHEMA`; each is as old as the oldest copy of its text."""
    oldest: dict[str, str] = {}
    for each in (*documents, *exact_copies):
        if each.retrieved_at is not None:
            oldest[each.text_sha256] = min(each.retrieved_at, oldest.get(each.text_sha256, each.retrieved_at))
    columns = {
        "doc_id": [each.doc_id for each in documents],
        "text_sha256": [each.text_sha256 for each in documents],
        "source": [each.source for each in documents],
        "uri": [each.uri for each in documents],
        "retrieved_at": [oldest.get(each.text_sha256) for each in documents],
        "preference": [preference[each.source] for each in documents],
        "characters": [len(each.text) for each in documents],
    }
    return pa.RecordBatch.from_pydict(columns, schema=LABEL_SCHEMA)


def together(batches: list[pa.RecordBatch]) -> pa.Table:
    """Return the rows of batches, which are taken out of the list, as one table of one piece for each column."""
    table = pa.Table.from_batches(batches, LABEL_SCHEMA)
    batches.clear()
    columns = {}
    for name in LABEL_SCHEMA.names:  # one after another, so that at most one is in memory twice
        columns[name] = pa.chunked_array([table.column(name).combine_chunks()])
        table = table.drop_columns(name)
        pa.default_memory_pool().release_unused()
    return pa.table(columns)


def numbered(labels: pa.Table, keep: str) -> tuple[I32, I32]:
    """Return the rows of labels in their order, and the place in it of each row.

    Args:
        labels: of `LABEL_SCHEMA`.
        keep: which copy is kept, as in `NearDuplicatesConfig`.
    """
    indices = pc.sort_indices(labels, sort_keys=list(_ORDERS[keep]))  # nulls at the end
    order = indices.to_numpy().astype(np.int32)
    numbers = np.empty_like(order)
    numbers[order] = np.arange(len(order), dtype=np.int32)
    return order, numbers
