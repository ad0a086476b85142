"""Sources made of a test's own documents, published through the store like any other."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from forge_pipelines.manifest import Classification, Document, Manifest, StageRequest, digest
from forge_pipelines.store import Made, Store
from forge_pipelines.tables import documents_writer, rejections_writer

PublishSource = Callable[..., Manifest]


@pytest.fixture
def publish_source(store: Store) -> PublishSource:
    def publish(name: str, documents: Sequence[Document], classification: str = "internal") -> Manifest:
        def make(folder: Path) -> Made:
            with documents_writer(folder / "documents.parquet") as table:
                for document in documents:
                    table.add(document)
            with rejections_writer(folder / "rejections.parquet"):
                pass
            return Made({"documents": len(documents)}, Classification(classification))

        inputs = {"listing": digest([document.doc_id for document in documents])}
        request = StageRequest(kind="raw_documents", name=name, inputs=inputs, parameters={}, code_version="1")
        return store.obtain(request, make).manifest

    return publish
