"""What the evaluation's tests publish: corpora and checkpoints."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from forge_pipelines.manifest import Classification, Document, Manifest, Segment, StageRequest, sha256_text
from forge_pipelines.store import Made, Store
from forge_pipelines.tables import documents_writer

CONTEXT = 32
SEED = 7


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts to learn from, and texts to be measured on."""

    train: tuple[str, ...]
    heldout: tuple[str, ...]


def document(text: str, source: str = "manuals") -> Document:
    """A document of one text."""
    sha256 = sha256_text(text)
    labels = {"licence": "CC0-1.0", "classification": "internal", "owner": None, "purpose": None}
    return Document(
        doc_id=sha256_text(source + text),
        text_sha256=sha256,
        parent_id=None,
        kind="text",
        segments=(Segment("text", text),),
        source=source,
        uri=f"file://{sha256[:8]}.md",
        media_type="text/markdown",
        raw_sha256=sha256,
        language="en",
        retrieved_at=None,
        expires_at=None,
        **labels,
    )


def publish_corpus(store: Store, heldout: Sequence[str], train: Sequence[str] = (), name: str = "manuals") -> Manifest:
    """Publish a validated corpus."""

    def make(folder: Path) -> Made:
        for part, part_texts in {"heldout": heldout, "train": train}.items():
            with documents_writer(folder / f"{part}.parquet") as writer:
                for text in part_texts:
                    writer.add(document(text, source=name))
        return Made({"heldout": len(heldout)}, Classification.CONFIDENTIAL)

    request = StageRequest(kind="validated_corpus", name=name, inputs={}, parameters={}, code_version="1")
    return store.obtain(request, make).manifest


def publish_checkpoint(store: Store, write: Callable[[Path], None]) -> Manifest:
    """Publish what ``write`` puts into a folder as a checkpoint."""

    def make(folder: Path) -> Made:
        write(folder)
        return Made({}, Classification.INTERNAL)

    parameters = {"seed": SEED}
    request = StageRequest(kind="trained_checkpoint", name="tiny", inputs={}, parameters=parameters, code_version="1")
    return store.obtain(request, make).manifest
