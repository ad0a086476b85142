"""What the evaluation's tests publish: corpora and checkpoints."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forge_pipelines.corpus.reading import HELDOUT_ROLE
from forge_pipelines.evaluation.scoring import Shown
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


@dataclass(frozen=True, slots=True)
class Adapted:
    """Folder of an open model, and of a checkpoint adapted from it."""

    base: Path
    checkpoint: Path


def plain(texts: Sequence[str]) -> list[Shown]:
    """Texts as the scoring process is shown them."""
    return [Shown(text=text) for text in texts]


def copy_of(source: Path) -> Callable[[Path], None]:
    """Return what writes the files of ``source`` into a folder."""
    return lambda folder: shutil.copytree(source, folder, dirs_exist_ok=True) and None


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


def publish_corpus(
    store: Store,
    heldout: Sequence[str],
    train: Sequence[str] = (),
    name: str = "manuals",
    decontaminated_against: Sequence[Manifest] = (),
) -> Manifest:
    """Publish a validated corpus."""
    inputs = {f"{HELDOUT_ROLE}{other.name}": other.fingerprint for other in decontaminated_against}

    def make(folder: Path) -> Made:
        for part, part_texts in {"heldout": heldout, "train": train}.items():
            with documents_writer(folder / f"{part}.parquet") as writer:
                for text in part_texts:
                    writer.add(document(text, source=name))
        return Made({"heldout": len(heldout)}, Classification.CONFIDENTIAL)

    request = StageRequest(kind="validated_corpus", name=name, inputs=inputs, parameters={}, code_version="1")
    return store.obtain(request, make).manifest


def publish_checkpoint(
    store: Store,
    write: Callable[[Path], None],
    base: Manifest | None = None,
    corpora: Sequence[str] = ("manuals",),
    objective: str = "continue",
) -> Manifest:
    """Publish what ``write`` puts into a folder as a checkpoint trained on ``corpora``, perhaps adapted from a base."""
    inputs = {f"corpus:{corpus}": corpus for corpus in corpora}
    shards = _publish(store, "tiny", "tokenized_shards", inputs, lambda folder: None)
    parameters = {"seed": SEED, "objective": objective}
    adapted = {f"base:{base.name}": base.fingerprint} if base else {}
    return _publish(store, "tiny", "trained_checkpoint", {"shards": shards.fingerprint, **adapted}, write, parameters)


def publish_base(store: Store, write: Callable[[Path], None]) -> Manifest:
    """Publish what ``write`` puts into a folder as an open model, ``small_base``."""
    return _publish(store, "small_base", "base_model", {}, write)


def _publish(
    store: Store,
    name: str,
    kind: str,
    inputs: Mapping[str, str],
    write: Callable[[Path], None],
    parameters: Mapping[str, Any] | None = None,
) -> Manifest:
    def make(folder: Path) -> Made:
        write(folder)
        return Made({}, Classification.INTERNAL)

    request = StageRequest(kind=kind, name=name, inputs=inputs, parameters=parameters or {}, code_version="1")
    return store.obtain(request, make).manifest
