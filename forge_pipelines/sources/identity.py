"""What makes a document itself: its canonical text, its ids, its labels and its language."""

from forge_pipelines.manifest import Document, Rejection, Segment, sha256_text
from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.sources.place import Item, ItemError, Refusal
from forge_pipelines.sources.readers.reading import Reading

_JUDGED_CHARACTERS = 2000
_FEWEST_CHARACTERS = 50


def canonical_text(text: str) -> str:
    """Return the text with line feeds as line ends and no byte-order mark. All other cleaning is the corpus's."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def document_id(source: str, path: str, content: str) -> str:
    """Return the SHA-256 of source name, path and content, joined by NULs (none of the first two holds one), as UTF-8.

    The content is a document's canonical text; a rejection, which has none, is known by the SHA-256 of its bytes.
    """
    return sha256_text("\0".join([source, path, content]))


def document(config: SourceConfig, item: Item, reading: Reading) -> Document:
    """Return the document that an item became. ``retrieved_at`` is when the item was last changed at its place.

    Raises:
        ItemError: there is no text in it.
    """
    text = canonical_text(reading.text)
    if not text.strip():
        raise ItemError("empty", "holds no text")
    return Document(
        doc_id=document_id(config.name, item.path, text),
        text_sha256=sha256_text(text),
        parent_id=None,
        kind="text",
        segments=(Segment("text", text),),
        source=config.name,
        uri=item.path,
        media_type=reading.media_type,
        raw_sha256=item.sha256,
        language=language_of(text),
        licence=config.labels.licence,
        classification=config.labels.classification.value,
        owner=config.labels.owner,
        purpose=config.labels.purpose,
        retrieved_at=item.modified_at,
        expires_at=None,
    )


def rejection(config: SourceConfig, item: Item, refusal: Refusal) -> Rejection:
    """Return the record of an item that became no document."""
    return Rejection(
        doc_id=document_id(config.name, item.path, item.sha256),
        source=config.name,
        uri=item.path,
        stage="raw_documents",
        rule=refusal.rule,
        reason=refusal.reason,
        excerpt=refusal.excerpt,
    )


def language_of(text: str) -> str | None:
    """Return the ISO 639-1 code that the text's first 2,000 characters look most like; None for a very short text."""
    import py3langid

    head = text[:_JUDGED_CHARACTERS].strip()
    if len(head) < _FEWEST_CHARACTERS:
        return None
    language: str = py3langid.classify(head)[0]
    return language
