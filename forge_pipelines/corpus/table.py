"""The per-document table: one row for each document of a corpus, without its text. Expectations are held over it."""

from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet as pq

from forge_pipelines.corpus.split import Part
from forge_pipelines.manifest import Document

COLUMNS = MappingProxyType(
    {
        "doc_id": "identity of the document, as its source gave it",
        "text_sha256": "SHA-256 of the canonical text",
        "parent_id": "the document that this one is a part of, if any",
        "kind": "text, chat or preference",
        "source": "name of the source",
        "uri": "where the document stands in its source",
        "media_type": "media type, for example text/markdown",
        "language": "ISO 639-1 code, if known",
        "licence": "SPDX licence expression",
        "classification": "public, internal, confidential or restricted",
        "owner": "who answers for the document, if known",
        "purpose": "what the document may be used for, if limited",
        "retrieved_at": "when it was read, ISO 8601 in UTC, if known",
        "expires_at": "when it must no longer be used, ISO 8601 in UTC, if limited",
        "characters": "length of the canonical text, in characters (an integer; all other columns are strings)",
        "split": "train or heldout",
    }
)

_SCHEMA = pa.schema([(name, pa.int64() if name == "characters" else pa.string()) for name in COLUMNS])
_COMPUTED = ("characters", "split")


class TableFile:
    """Writes the per-document table, a batch at a time; a context manager."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, _SCHEMA, compression="zstd")

    def add(self, batch: Iterable[tuple[Document, Part]]) -> None:
        """Append a row for each document and the part it is in."""
        rows = [_row(document, part) for document, part in batch]
        if rows:
            self._writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))

    def __enter__(self) -> "TableFile":
        """Return the file itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._writer.close()


def _row(document: Document, part: Part) -> dict[str, str | int | None]:
    labels = {name: getattr(document, name) for name in COLUMNS if name not in _COMPUTED}
    return {**labels, "characters": len(document.text), "split": part}
