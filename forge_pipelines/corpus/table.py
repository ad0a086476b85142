"""The per-document table: one row for each document of a corpus, without its text. Expectations are held over it."""

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet as pq

from forge_pipelines.columns import characters_of, column_of
from forge_pipelines.corpus.split import Part

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


class TableFile:
    """Writes the per-document table, a batch at a time; a context manager."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, _SCHEMA, compression="zstd")

    def add(self, documents: pa.Table, parts: Sequence[Part]) -> None:
        """Append a row for each document, `DOCUMENT_SCHEMA` of `columns`, and the part that it is in."""
        if not len(documents):
            return
        computed = {
            "characters": column_of(characters_of(documents).tolist(), pa.int64()),
            "split": column_of(parts, pa.string()),
        }
        columns = [computed[name] if name in computed else documents.column(name) for name in COLUMNS]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=_SCHEMA).combine_chunks())

    def __enter__(self) -> "TableFile":
        """Return the file itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._writer.close()
