"""Sources, corpora and shards of them, made for real, in which documents have every fate; and trainings of them."""

import random
from collections.abc import Sequence
from pathlib import Path

from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.stage import validate
from forge_pipelines.engine.local import LocalEngine
from forge_pipelines.manifest import Classification, Document, Manifest, Rejection, Segment, StageRequest, sha256_text
from forge_pipelines.shards.config import ShardsConfig
from forge_pipelines.shards.stage import shard
from forge_pipelines.sources.identity import document_id
from forge_pipelines.store import Made, Store
from forge_pipelines.tables import documents_writer, rejections_writer

MODEL = "tiny"
SEQUENCE_LENGTH = 64
SCAN = "scans/plan.pdf"
COPIED = "pages/31.md"

_SYLLABLES = ("ba", "ke", "lo", "mi", "nu", "ra", "se", "to", "vi", "zu")


def words(number: int, count: int = 150) -> list[str]:
    """Words of a text that no other number gives."""
    draw = random.Random(number)
    return ["".join(draw.choices(_SYLLABLES, k=draw.randint(2, 4))) for _ in range(count)]


def texts() -> dict[str, str]:
    """The handbook by path: pages of different lengths, two copies of one of them, and one that is too short."""
    pages = {f"pages/{number:02}.md": words(number, 12 + 3 * number) for number in range(40)}
    near = [*pages[COPIED][:7], "altered", *pages[COPIED][8:]]
    pages |= {"copies/exact.md": pages[COPIED], "copies/near.md": near, "stub.md": ["Too", "short"]}
    return {path: " ".join(text) for path, text in pages.items()}


def document(source: str, uri: str, text: str) -> Document:
    return Document(
        doc_id=document_id(source, uri, text),
        text_sha256=sha256_text(text),
        parent_id=None,
        kind="text",
        segments=(Segment("text", text),),
        source=source,
        uri=uri,
        media_type="text/markdown",
        raw_sha256=sha256_text(text),
        language=None,
        licence="MIT",
        classification="internal",
        owner=None,
        purpose=None,
        retrieved_at="2026-01-02T00:00:00+00:00" if uri.startswith("copies/") else "2026-01-01T00:00:00+00:00",
        expires_at=None,
    )


def publish_source(store: Store, name: str, documents: Sequence[Document]) -> Manifest:
    """Publish documents as a source, which could not read one file."""

    def make(folder: Path) -> Made:
        with documents_writer(folder / "documents.parquet") as table:
            for each in documents:
                table.add(each)
        with rejections_writer(folder / "rejections.parquet") as table:
            identity = (document_id(name, SCAN, name), name, SCAN, "raw_documents")
            table.add(Rejection(*identity, "needs_ocr", "holds pictures of text alone", ""))
        return Made({"documents": len(documents)}, Classification.INTERNAL)

    request = StageRequest(kind="raw_documents", name=name, inputs={}, parameters={}, code_version="1")
    return store.obtain(request, make).manifest


def make_corpus(store: Store, name: str, source: Manifest) -> Manifest:
    config = {"name": name, "sources": [source.name], "split": {"heldout_fraction": 0.2}, "personal_data": None}
    return validate(CorpusConfig.model_validate(config), [source], store, engine=LocalEngine(1)).manifest


def make_shards(store: Store) -> Manifest:
    """Publish sources `handbook` and `wiki`, corpora `library` and `notes` of them, and the model's shards."""
    handbook = [document("handbook", uri, text) for uri, text in texts().items()]
    wiki = [document("wiki", f"pages/{number:02}.md", " ".join(words(100 + number))) for number in range(12)]
    corpora = {
        "library": make_corpus(store, "library", publish_source(store, "handbook", handbook)),
        "notes": make_corpus(store, "notes", publish_source(store, "wiki", wiki)),
    }
    config = {
        "corpora": [{"corpus": "library"}, {"corpus": "notes", "weight": 2}],
        "tokenizer": {"vocabulary_size": 400},
        "sequence_length": SEQUENCE_LENGTH,
    }
    return shard(MODEL, corpora, ShardsConfig.model_validate(config), store).manifest


def publish_training(
    store: Store, shards: Manifest, *, steps: int, batch: int, seed: int = 0, skipped: Sequence[int] = ()
) -> Manifest:
    """Publish what is asked of a training: its manifest, which says what its steps read."""
    request = StageRequest(
        kind="trained_checkpoint",
        name=shards.name,
        inputs={"shards": shards.fingerprint},
        parameters={"batch_sequences": batch, "seed": seed, "steps": steps, "skip_batches": len(skipped)},
        code_version="1",
    )
    counts = {"steps": steps, "skipped_batches": list(skipped)}
    return store.obtain(request, lambda _: Made(counts, Classification.INTERNAL)).manifest


def request_of(manifest: Manifest) -> StageRequest:
    """What was asked for when a manifest was published."""
    return StageRequest(**{name: getattr(manifest, name) for name in StageRequest.model_fields})
