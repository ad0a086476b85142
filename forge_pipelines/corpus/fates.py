"""What cleaning makes of a document, as it is handed between processes and remembered between runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from forge_pipelines.columns import DOCUMENT_SCHEMA, SEGMENTS, column_of, rows_of, segments_of
from forge_pipelines.corpus.sketches import Sketch
from forge_pipelines.corpus.steps import STAGE
from forge_pipelines.manifest import Document, Rejection, Segment


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one document: what is changed in it, or the rule that rejected it.

    Attributes:
        segments: its text, where it is not what it was.
        redactions: how often something was replaced in it, by what it was.
        sketch: what it is compared by, where near-copies are looked for.
    """

    text_sha256: str
    language: str | None
    segments: tuple[Segment, ...] | None = None
    redactions: Mapping[str, int] = field(default_factory=dict)
    sketch: Sketch | None = None
    rule: str | None = None
    reason: str = ""
    excerpt: str = ""

    @classmethod
    def kept(cls, was: Document, now: Document, redactions: Mapping[str, int], sketch: Sketch | None) -> "Fate":
        """Make it of a document as it came and as it is kept."""
        changed = now.segments if now.segments != was.segments else None
        return cls(now.text_sha256, now.language, changed, redactions, sketch)

    @classmethod
    def rejected(cls, was: Document, rejection: Rejection) -> "Fate":
        """Make it of a document as it came and its rejection."""
        return cls(
            was.text_sha256, was.language, rule=rejection.rule, reason=rejection.reason, excerpt=rejection.excerpt
        )


def kept_of(documents: pa.Table, fates: Sequence[Fate]) -> pa.Table:
    """Return those documents that are kept, as they became; the arguments are of one order."""
    kept = [fate for fate in fates if fate.rule is None]
    if len(kept) < len(fates):
        documents = rows_of(documents, np.flatnonzero([fate.rule is None for fate in fates]))
    became = {
        "text_sha256": column_of([fate.text_sha256 for fate in kept], pa.string()),
        "language": column_of([fate.language for fate in kept], pa.string()),
        "segments": _segments(documents.column("segments"), kept),
    }
    columns = [became.get(name, documents.column(name)) for name in DOCUMENT_SCHEMA.names]
    return pa.Table.from_arrays(columns, schema=DOCUMENT_SCHEMA)


def _segments(before: pa.ChunkedArray, fates: Sequence[Fate]) -> pa.ChunkedArray:
    changed = [(place, fate.segments) for place, fate in enumerate(fates) if fate.segments is not None]
    if not changed:
        return before
    said = [[{"role": each.role, "text": each.text} for each in segments] for _, segments in changed]
    now = pa.chunked_array([*before.chunks, column_of(said, SEGMENTS)], SEGMENTS)
    rows = np.arange(len(fates))
    rows[[place for place, _ in changed]] = len(fates) + np.arange(len(changed))
    return rows_of(pa.table([now], ["segments"]), rows).column("segments")


def rejections_of(documents: pa.Table, fates: Sequence[Fate]) -> list[Rejection]:
    """Return the rejections of those documents that are not kept; the arguments are of one order."""
    places = np.flatnonzero([fate.rule is not None for fate in fates])
    names = rows_of(documents.select(["doc_id", "source", "uri"]), places)
    refused = (fate for fate in fates if fate.rule is not None)
    return [
        Rejection(**identity, stage=STAGE, rule=fate.rule or "", reason=fate.reason, excerpt=fate.excerpt)
        for identity, fate in zip(names.to_pylist(), refused, strict=True)
    ]


class FateTable:
    """Fates as rows."""

    schema = pa.schema(
        [
            ("text_sha256", pa.string()),
            ("language", pa.string()),
            ("segments", SEGMENTS),
            ("redactions", pa.string()),
            ("shingles", pa.large_binary()),
            ("bands", pa.large_binary()),
            ("rule", pa.string()),
            ("reason", pa.string()),
            ("excerpt", pa.string()),
        ]
    )

    def row(self, fate: Fate) -> Mapping[str, Any]:
        """Return a fate as a row."""
        sketch = fate.sketch
        return {
            "text_sha256": fate.text_sha256,
            "language": fate.language,
            "segments": fate.segments and [asdict(each) for each in fate.segments],
            "redactions": json.dumps(fate.redactions) if fate.redactions else None,
            "shingles": sketch.shingles if sketch else b"",
            "bands": sketch.bands if sketch else b"",
            "rule": fate.rule,
            "reason": fate.reason,
            "excerpt": fate.excerpt,
        }

    def values(self, rows: pa.Table) -> list[Fate]:
        """Return the fates that rows hold."""
        columns = {name: rows.column(name).to_pylist() for name in self.schema.names if name != "segments"}
        sketches = zip(columns.pop("shingles"), columns.pop("bands"), strict=True)
        return [
            *map(
                Fate,
                columns["text_sha256"],
                columns["language"],
                segments_of(rows.column("segments")),
                (json.loads(each) if each else {} for each in columns["redactions"]),
                (Sketch(shingles, bands) if bands else None for shingles, bands in sketches),
                *(columns[name] for name in ("rule", "reason", "excerpt")),
            )
        ]
