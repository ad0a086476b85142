"""A folder of documents, and what a source's YAML would say of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forge_pipelines.manifest import Document, Manifest, Rejection
from forge_pipelines.sources.config import Labels, SourceConfig
from forge_pipelines.sources.places.config import FolderPlace
from forge_pipelines.store import Store
from forge_pipelines.tables import read_documents, read_rejections

PAGE = """<!DOCTYPE html><html><head><title>Pumps</title></head><body>
<nav><a href="/">Home</a><a href="/all">All pages</a></nav>
<main><h1>Maintenance</h1><p>The pump is greased once a week, by whoever opens the hall in the morning. Who greases it
writes his name and the date on the card at the door, and hangs the cloth over the rail. Once a year the works'
own fitter takes the housing off, looks at the shaft, and changes the seal when it has run for
more than four thousand hours.</p>
<ul><li>grease</li><li>cloth</li></ul></main><footer>Imprint</footer></body></html>"""


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A folder with a document of each kind."""
    folder = tmp_path / "documents"
    (folder / "deep/er").mkdir(parents=True)
    (folder / "plain.txt").write_text("The pump stands in the hall. It is switched on with the green button.\n")
    (folder / "read.md").write_text("# Pumps\n\nSee **here**, [there](a.md) and `x`.\n\n## Oil\n\n```\ncode\n```\n")
    (folder / "deep/manual.rst").write_text("Pumps\n=====\n\n.. note:: oil\n\nUse ``grease`` and :ref:`oil`.\n")
    (folder / "deep/er/page.html").write_text(PAGE)
    return folder


@pytest.fixture
def configure(documents: Path) -> Callable[..., SourceConfig]:
    """Make a source's configuration; the arguments go into its `folder`, or `max_file_bytes`."""

    def make(max_file_bytes: int = 1 << 20, **folder: Any) -> SourceConfig:
        place = FolderPlace.model_validate({"path": str(documents), **folder})
        labels = Labels.model_validate({"licence": "CC0-1.0", "classification": "internal", "owner": "Hall"})
        return SourceConfig(name="handbook", folder=place, labels=labels, max_file_bytes=max_file_bytes)

    return make


@pytest.fixture
def contents(store: Store) -> Callable[[Manifest], tuple[dict[str, Document], dict[str, Rejection]]]:
    """Read a publication's documents and rejections, by their path."""

    def read(manifest: Manifest) -> tuple[dict[str, Document], dict[str, Rejection]]:
        folder = store.open(manifest)
        documents = {row.uri: row for row in read_documents(folder / "documents.parquet")}
        return documents, {row.uri: row for row in read_rejections(folder / "rejections.parquet")}

    return read
