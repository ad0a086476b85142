"""The files of a published corpus, and how to read them."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from forge_pipelines.manifest import Document
from forge_pipelines.tables import read_documents

TRAIN = "train.parquet"
HELDOUT = "heldout.parquet"
TABLE = "table.parquet"
REJECTIONS = "rejections.parquet"
EXPECTATIONS = "expectations.json"
DATA_DOCS = "data_docs"


def read_lengths(folder: Path) -> list[int]:
    """Return the length of every document in characters; no text is read."""
    lengths: list[int] = pq.read_table(folder / TABLE, columns=["characters"]).column("characters").to_pylist()
    return lengths


def read_train(folder: Path) -> Iterator[Document]:
    """Yield the documents to train on, in the order of their ``text_sha256``."""
    return read_documents(folder / TRAIN)


def read_heldout(folder: Path) -> Iterator[Document]:
    """Yield the documents that no training sees, in the order of their ``text_sha256``."""
    return read_documents(folder / HELDOUT)
