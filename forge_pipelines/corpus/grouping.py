"""Brings documents into the order of their texts' hashes, on disk: all copies of a text meet, in bounded memory.

The order is that of the hashes, so it does not depend on the order in which documents were read.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from forge_pipelines.manifest import Document
from forge_pipelines.tables import documents_writer, read_documents

_GROUPS = 64
_BATCH_CHARACTERS = 1 << 20


def write_groups(documents: Iterable[Document], folder: Path) -> None:
    """Write documents to 64 files of a folder, by the first bits of their ``text_sha256``."""
    with ExitStack() as stack:
        writers = [stack.enter_context(documents_writer(_file(folder, n), _BATCH_CHARACTERS)) for n in range(_GROUPS)]
        for document in documents:
            writers[int(document.text_sha256[:2], 16) * _GROUPS // 256].add(document)


def read_groups(folder: Path) -> Iterator[list[Document]]:
    """Yield the documents of each file, sorted by ``text_sha256`` and then by where they come from."""
    for number in range(_GROUPS):
        documents = read_documents(_file(folder, number))
        yield sorted(documents, key=lambda each: (each.text_sha256, each.source, each.uri, each.doc_id))


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:02}.parquet"
