"""What makes a document itself: its ids, where it stands, and its labels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from forge_pipelines.manifest import Document, Rejection, Segment, sha256_text
from forge_pipelines.sources.labelling import Labelled, Labelling
from forge_pipelines.sources.place import ItemError, Refusal
from forge_pipelines.sources.readers.reading import Part, Reading, Record

STAGE = "raw_documents"


@dataclass(frozen=True, slots=True)
class Found:
    """An item as a survey found it: the SHA-256 of its content, or the refusal that it has instead."""

    path: str
    sha256: str
    modified_at: str | None
    num_bytes: int
    refusal: Refusal | None


def document_id(source: str, path: str, content: str) -> str:
    """Return the SHA-256 of source name, path and content, joined by NULs (none of the first two holds one), as UTF-8.

    The content is a document's canonical text; what has none is known by the SHA-256 of its bytes.
    """
    return sha256_text("\0".join([source, path, content]))


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a document stands: the path of the file that holds it, empty where none does, and its name within that."""

    holder: str
    name: str


def standing(document: Document) -> Standing:
    """Tell where a document stands, by its path: a member follows the last ``!/`` there, a record the last ``#``."""
    if document.parent_id is None:
        return Standing("", document.uri)
    holder, mark, name = document.uri.rpartition("!/")
    if mark:
        return Standing(holder, name)
    holder, mark, name = document.uri.rpartition("#")
    return Standing(holder, mark + name)


class Identities:
    """Makes the rows of a source: a document or a rejection of every part of its files."""

    def __init__(self, source: str, labelling: Labelling) -> None:
        self._source = source
        self._labelling = labelling

    def refused(self, path: str, refusal: Refusal) -> Rejection:
        """Return the record of an item that nothing could be read of."""
        return self._rejection(path, "", refusal)

    def rows(self, found: Found, parts: Iterable[Part]) -> Iterator[Document | Rejection]:
        """Yield what became of a file's parts.

        A part's ``parent_id`` is the id of the document that holds it; where the holder is no document, it is the id
        that the holder's bytes give it.
        """
        labelled = self._labelling.of(found.path)
        ids: dict[str, str] = {}
        for part in parts:
            raw_sha256 = part.raw_sha256 if part.path else found.sha256
            at = replace(part, path=found.path + part.path, raw_sha256=raw_sha256)
            parent_id = None if part.parent is None else ids[part.parent]
            row = self._row(at, parent_id, labelled, found.modified_at)
            if not part.path.removeprefix(part.parent or "").startswith("#"):  # a record holds nothing
                ids[part.path] = document_id(self._source, at.path, raw_sha256) if row is None else row.doc_id
            if row is not None:
                yield row

    def _row(
        self, part: Part, parent_id: str | None, labelled: Labelled, modified_at: str | None
    ) -> Document | Rejection | None:
        if part.outcome is None:
            return None
        if isinstance(part.outcome, Refusal):
            return self._rejection(part.path, part.raw_sha256, part.outcome)
        try:
            return self._document(part, part.outcome, parent_id, labelled, modified_at)
        except ItemError as refused:
            return self._rejection(part.path, part.raw_sha256, refused.refusal)

    def _document(
        self, part: Part, said: Reading | Record, parent_id: str | None, labelled: Labelled, modified_at: str | None
    ) -> Document:
        licence, classification = labelled.require()
        return Document(
            doc_id=document_id(self._source, part.path, said.text),
            text_sha256=sha256_text(said.text),
            parent_id=parent_id,
            kind=said.kind if isinstance(said, Record) else "text",
            segments=said.segments if isinstance(said, Record) else (Segment("text", said.text),),
            source=self._source,
            uri=part.path,
            media_type=said.media_type,
            raw_sha256=part.raw_sha256,
            language=part.language,
            licence=licence,
            classification=classification.value,
            owner=labelled.owner,
            purpose=labelled.purpose,
            retrieved_at=modified_at,
            expires_at=labelled.expires_at(modified_at),
        )

    def _rejection(self, uri: str, raw_sha256: str, refusal: Refusal) -> Rejection:
        return Rejection(
            doc_id=document_id(self._source, uri, raw_sha256),
            source=self._source,
            uri=uri,
            stage=STAGE,
            rule=refusal.rule,
            reason=refusal.reason,
            excerpt=refusal.excerpt,
        )
