"""Documents that exist only in a test."""

from pathlib import Path

from forge_pipelines.manifest import Document, Segment, digest, sha256_text

_MEDIA_TYPES = {".md": "text/markdown", ".py": "text/x-python", ".tsv": "text/tab-separated-values"}


def document(source: str, uri: str, text: str) -> Document:
    return Document(
        doc_id=digest([source, uri, text]),
        text_sha256=sha256_text(text),
        parent_id=None,
        kind="text",
        segments=(Segment("text", text),),
        source=source,
        uri=uri,
        media_type=_MEDIA_TYPES.get(Path(uri).suffix, "text/plain"),
        raw_sha256=sha256_text(text),
        language=None,
        licence="Apache-2.0",
        classification="internal",
        owner=None,
        purpose=None,
        retrieved_at=None,
        expires_at=None,
    )


def pages(source: str, count: int, first: int = 0) -> list[Document]:
    """Distinct documents of about 80 characters."""
    return [
        document(source, f"page-{number:03}.md", f"# Page {number}\n\n{f'Valve {number} closes after 7 turns. ' * 3}")
        for number in range(first, first + count)
    ]
