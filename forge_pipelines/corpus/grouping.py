"""Brings documents into the order of their texts' hashes, on disk: all copies of a text meet, in bounded memory.

The order is that of the hashes, so it does not depend on the order in which documents were read.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from forge_pipelines.manifest import Document
from forge_pipelines.tables import documents_writer, read_documents

_GROUPS = "0123456789abcdef"


def write_groups(documents: Iterable[Document], folder: Path) -> None:
    """Write documents to sixteen files of a folder, by the first digit of their ``text_sha256``."""
    with ExitStack() as stack:
        writers = {digit: stack.enter_context(documents_writer(folder / f"{digit}.parquet")) for digit in _GROUPS}
        for document in documents:
            writers[document.text_sha256[0]].add(document)


def read_groups(folder: Path) -> Iterator[list[Document]]:
    """Yield the documents of each file, sorted by ``text_sha256`` and then by where they come from."""
    for digit in _GROUPS:
        documents = read_documents(folder / f"{digit}.parquet")
        yield sorted(documents, key=lambda each: (each.text_sha256, each.source, each.uri, each.doc_id))
