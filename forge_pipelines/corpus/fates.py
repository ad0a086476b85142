"""What cleaning makes of a document, as it is handed between processes and remembered between runs."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa

from forge_pipelines.corpus.sketches import Sketch
from forge_pipelines.corpus.steps import STAGE
from forge_pipelines.manifest import Document, Rejection, Segment
from forge_pipelines.tables import SEGMENTS


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

    def of(self, document: Document) -> Document | Rejection:
        """Return what becomes of the document whose fate this is."""
        if self.rule is not None:
            identity = (document.doc_id, document.source, document.uri)
            return Rejection(*identity, STAGE, self.rule, self.reason, self.excerpt)
        segments = document.segments if self.segments is None else self.segments
        return replace(document, text_sha256=self.text_sha256, language=self.language, segments=segments)


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

    def value(self, row: Mapping[str, Any]) -> Fate:
        """Return the fate that a row holds."""
        segments = row["segments"] and tuple(Segment(**each) for each in row["segments"])
        sketch = Sketch(row["shingles"], row["bands"]) if row["bands"] else None
        redactions = json.loads(row["redactions"]) if row["redactions"] else {}
        refusal = (row["rule"], row["reason"], row["excerpt"])
        return Fate(row["text_sha256"], row["language"], segments, redactions, sketch, *refusal)
