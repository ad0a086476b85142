"""Brings documents into the order of their texts' hashes, on disk: all copies of a text meet, in bounded memory.

The order is that of the hashes, so it does not depend on the order in which documents were read.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forge_pipelines.columns import DOCUMENT_SCHEMA, rows_of

_GROUPS = 64
_WAITING_BYTES = 16 << 20
_WAITING_TABLES = 256
_ORDER = [(name, "ascending") for name in ("text_sha256", "source", "uri", "doc_id")]


def write_groups(batches: Iterable[pa.Table], folder: Path) -> None:
    """Write documents to 64 files of a folder, by the first bits of their ``text_sha256``.

    Raises:
        OSError: the disk is full.
    """
    with ExitStack() as stack:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        files = [stack.enter_context(_file(folder, number).open("wb")) for number in range(_GROUPS)]
        writers = [stack.enter_context(pa.ipc.new_stream(file, DOCUMENT_SCHEMA, options=options)) for file in files]
        for table in _gathered(batches):
            firsts = [int(each[:2], 16) for each in table.column("text_sha256").to_pylist()]
            groups = np.array(firsts, np.int64) * _GROUPS // 256
            ordered = rows_of(table, np.argsort(groups, kind="stable"))
            ends = np.concatenate([[0], np.cumsum(np.bincount(groups, minlength=_GROUPS))]).tolist()
            for writer, (start, end) in zip(writers, pairwise(ends), strict=True):
                if end > start:
                    writer.write_table(ordered.slice(start, end - start))


def _gathered(batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    num_bytes = 0
    for batch in batches:
        waiting.append(batch)
        num_bytes += batch.nbytes
        if num_bytes >= _WAITING_BYTES or len(waiting) == _WAITING_TABLES:
            yield pa.concat_tables(waiting)
            waiting, num_bytes = [], 0
    if waiting:
        yield pa.concat_tables(waiting)


def read_groups(folder: Path) -> Iterator[pa.Table]:
    """Yield the documents of each file, sorted by ``text_sha256`` and then by where they come from."""
    for number in range(_GROUPS):
        with _file(folder, number).open("rb") as file, pa.ipc.open_stream(file) as stream:
            documents = stream.read_all()
        yield documents.take(pc.sort_indices(documents, sort_keys=_ORDER))


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:02}.arrow"
