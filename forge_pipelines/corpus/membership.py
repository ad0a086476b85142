"""`clusters.parquet`: which document stands for a copy, so that a question about any copy finds it.

One row for each document of a cluster of at least two, exact copies and survivors among them:

- doc_id, text_sha256: the document;
- cluster: the smallest ``text_sha256`` of its cluster;
- survivor: the ``doc_id`` of the one that stands for it, itself kept or rejected with its own reason;
- jaccard: its similarity to the survivor: 1 for an exact copy, and for the survivor itself.

A document that is not in the file has no copy.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from forge_pipelines.corpus.buckets import I32

Similarities = npt.NDArray[np.float32]

CLUSTERS = "clusters.parquet"
SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("text_sha256", pa.string()),
        ("cluster", pa.string()),
        ("survivor", pa.string()),
        ("jaccard", pa.float32()),
    ]
)
_ROWS_AT_ONCE = 8192


def write_clusters(path: Path, labels: pa.Table, copies: pa.Table, survivors: I32, jaccards: Similarities) -> None:
    """Write the members of all clusters, in the order of cluster, ``text_sha256`` and ``doc_id``.

    Args:
        path: the file.
        labels: doc_id and text_sha256 of N documents of different texts.
        copies: documents with the text of one of these, `COPY_SCHEMA`.
        survivors: the row of the document that stands for each, ``[N]``.
        jaccards: similarity to that one, ``[N]``.
    """
    copies = copies.sort_by("doc_id")
    copied = pc.index_in(copies.column("text_sha256"), value_set=labels.column("text_sha256")).to_numpy()
    members = np.concatenate([_in_clusters(survivors, copied), len(survivors) + np.arange(len(copied))])
    rows = np.concatenate([np.arange(len(survivors)), copied])[members]
    by_text = pc.sort_indices(labels.column("text_sha256")).to_numpy()
    place = np.empty_like(by_text)
    place[by_text] = np.arange(len(by_text), dtype=by_text.dtype)
    first = np.full_like(place, len(place))
    np.minimum.at(first, survivors, place)
    order = np.lexsort((place[rows], first[survivors[rows]]))
    doc_ids = pa.chunked_array([*labels.column("doc_id").chunks, *copies.column("doc_id").chunks], pa.string())
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for start in range(0, len(order), _ROWS_AT_ONCE):
            batch = order[start : start + _ROWS_AT_ONCE]
            stands = survivors[rows[batch]]
            columns = {
                "doc_id": doc_ids.take(members[batch]),
                "text_sha256": labels.column("text_sha256").take(rows[batch]),
                "cluster": labels.column("text_sha256").take(by_text[first[stands]]),
                "survivor": labels.column("doc_id").take(stands),
                "jaccard": jaccards[rows[batch]],
            }
            writer.write_table(pa.table(columns, schema=SCHEMA))


def _in_clusters(survivors: I32, copied: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    is_member = survivors != np.arange(len(survivors))
    is_member[survivors[is_member]] = True
    is_member[copied] = is_member[survivors[copied]] = True
    return np.flatnonzero(is_member)
