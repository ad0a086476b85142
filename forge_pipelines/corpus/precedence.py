"""Which of two documents comes first: the order in which near-copies are decided on, and so which of them is kept."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forge_pipelines.columns import RowNumbers, characters_of, column_of
from forge_pipelines.corpus.buckets import I32

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
NAMED_BY = ("doc_id", "text_sha256", "source", "uri")
"""The labels that are still asked for when the order is known."""
COPY_SCHEMA = pa.schema([("doc_id", pa.string()), ("text_sha256", pa.string())])

_TIES = (("preference", "ascending"), ("uri", "ascending"), ("doc_id", "ascending"))
_ORDERS = MappingProxyType(
    {
        "oldest": (("retrieved_at", "ascending"), *_TIES),
        "longest": (("characters", "descending"), *_TIES),
        "preferred_source": _TIES,
    }
)


def labels_of(documents: pa.Table, preference: Mapping[str, int]) -> pa.Table:
    """Return what is remembered of documents, `LABEL_SCHEMA`."""
    columns = {
        "source": documents.column("source").dictionary_encode(),
        "preference": column_of([preference[each] for each in documents.column("source").to_pylist()], pa.int32()),
        "characters": column_of(characters_of(documents).tolist(), pa.int64()),
    }
    together = [columns[name] if name in columns else documents.column(name) for name in LABEL_SCHEMA.names]
    return pa.Table.from_arrays(together, schema=LABEL_SCHEMA)


def together(parts: list[pa.Table]) -> pa.Table:
    """Return the rows of tables, which are taken out of the list, as one table of one piece for each column."""
    table = pa.concat_tables([LABEL_SCHEMA.empty_table(), *parts])
    parts.clear()
    columns = {}
    for name in LABEL_SCHEMA.names:  # one after another, so that at most one is in memory twice
        columns[name] = pa.chunked_array([table.column(name).combine_chunks()])
        table = table.drop_columns(name)
        pa.default_memory_pool().release_unused()
    return pa.table(columns)


def distinct(labels: pa.Table) -> tuple[pa.Table, RowNumbers, pa.Table]:
    """Tell the documents of different texts, as `duplicates.drop_duplicates` keeps them, from their copies.

    Returns:
        The labels of those that are kept, in the order of their texts' hashes, each as old as the oldest copy of its
        text; the row of each in ``labels``, ``[N]``; and the others, `COPY_SCHEMA`.
    """
    order = pc.sort_indices(labels, sort_keys=[("text_sha256", "ascending"), *_TIES]).to_numpy()
    texts = labels.column("text_sha256").take(order)
    is_first = np.ones(len(order), bool)
    is_first[1:] = pc.not_equal(texts.slice(1), texts.slice(0, len(texts) - 1)).to_numpy() if len(order) > 1 else True
    rows, copied = order[is_first], order[~is_first]
    copies = pa.table([labels.column(name).take(copied) for name in COPY_SCHEMA.names], schema=COPY_SCHEMA)
    kept = {name: labels.column(name).take(rows) for name in LABEL_SCHEMA.names}
    owners = (np.cumsum(is_first) - 1)[~is_first]
    kept["retrieved_at"] = _oldest(kept["retrieved_at"], owners, labels.column("retrieved_at").take(copied))
    return pa.table(kept, schema=LABEL_SCHEMA), rows, copies


def _oldest(times: pa.ChunkedArray, owners: RowNumbers, others: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times, each replaced by an earlier one of the others that it owns."""
    oldest: dict[int, str] = {}
    for owner, time in zip(owners.tolist(), others.to_pylist(), strict=True):
        if time is not None:
            oldest[owner] = min(time, oldest.get(owner, times[owner].as_py() or time))
    is_changed = np.zeros(len(times), bool)
    is_changed[list(oldest)] = True
    changed = pa.array([oldest[owner] for owner in sorted(oldest)], pa.string())
    return pc.replace_with_mask(times, pa.array(is_changed), changed)


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
