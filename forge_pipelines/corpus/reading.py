"""The files of a published corpus, and how to read them."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow.parquet as pq

from forge_pipelines.manifest import Document, Manifest, Name
from forge_pipelines.tables import read_documents

TRAIN = "train.parquet"
HELDOUT = "heldout.parquet"
TABLE = "table.parquet"
REJECTIONS = "rejections.parquet"
EXPECTATIONS = "expectations.json"
DATA_DOCS = "data_docs"

HELDOUT_ROLE = "heldout:"
"""What stands before a corpus's name among the inputs of one that does not hold its held-out documents."""


def source_fingerprints(manifest: Manifest) -> Mapping[Name, str]:
    """Return the fingerprint of each source that a corpus was made from; no other input has a bare name as its role."""
    return {role: fingerprint for role, fingerprint in manifest.inputs.items() if ":" not in role}


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
