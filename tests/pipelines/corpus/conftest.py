"""Sources made of a test's own documents, published through the store like any other."""

import shutil
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


@pytest.fixture
def elsewhere(store: Store, tmp_path: Path) -> Callable[..., Store]:
    """Gives a store of its own, in which nothing but some publications stand."""

    def copied(*manifests: Manifest) -> Store:
        number = len([*tmp_path.glob("elsewhere-*")])
        other = Store(str(tmp_path / f"elsewhere-{number}"), tmp_path / f"scratch-{number}")
        for manifest in manifests:
            target = Path(other.address) / manifest.name / manifest.kind / manifest.key
            shutil.copytree(store.address_of(manifest), target)
        return other

    return copied
