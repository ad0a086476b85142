"""`python forge_once.py DOCUMENTS FOLDER`: finds near-copies with Forge, and prints seconds and what became of each."""

import json
import sys
import time
from pathlib import Path

from clock import cpu_seconds

from forge_pipelines.columns import table_of_documents
from forge_pipelines.corpus.config import Split
from forge_pipelines.corpus.near_duplicates import NearDuplicates
from forge_pipelines.corpus.near_duplicates_config import NearDuplicatesConfig
from forge_pipelines.corpus.sketches import sketched
from forge_pipelines.manifest import Document, Rejection, Segment, sha256_text

BATCH = 512


def main(path: Path, folder: Path) -> None:
    documents = [_document(**json.loads(line)) for line in path.open()]
    started, used = time.monotonic(), cpu_seconds()
    with NearDuplicates(NearDuplicatesConfig(), Split(heldout_fraction=0.5), {"here": 0}, folder) as near:
        for start in range(0, len(documents), BATCH):
            batch = documents[start : start + BATCH]
            near.add(table_of_documents(batch), [*sketched(each.text for each in batch)])
        resolution = near.resolve()
    by_text = sorted(documents, key=lambda each: each.text_sha256)
    verdicts = {each.uri: resolution.verdict(row, each) for row, each in enumerate(by_text)}
    resolution.write_clusters(folder / "clusters.parquet")
    taken = {"seconds": time.monotonic() - started, "cpu_seconds": cpu_seconds() - used}
    names = {each.doc_id[:12]: each.uri for each in documents}
    parts = {uri: verdict for uri, verdict in verdicts.items() if not isinstance(verdict, Rejection)}
    removed = {
        uri: names[verdict.reason.rsplit("(", 1)[1][:12]]
        for uri, verdict in verdicts.items()
        if isinstance(verdict, Rejection) and verdict.rule == "near_duplicate"
    }
    torn = len(documents) - len(parts) - len(removed)
    print(json.dumps({**taken, "removed": removed, "parts": parts, "torn": torn}))


def _document(name: str, text: str) -> Document:
    # Planted copies are the younger ones.
    at = "2026-01-02T00:00:00+00:00" if name.startswith("planted/") else "2026-01-01T00:00:00+00:00"
    return Document(
        doc_id=sha256_text(f"{name}\n{text}"),
        text_sha256=sha256_text(text),
        parent_id=None,
        kind="text",
        segments=(Segment("text", text),),
        source="here",
        uri=name,
        media_type="text/plain",
        raw_sha256=sha256_text(text),
        language=None,
        licence="LicenseRef-as-installed",
        classification="public",
        owner=None,
        purpose=None,
        retrieved_at=at,
        expires_at=None,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
