"""The keys under which results are remembered: hashes of all that a result depends on."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import date
from hashlib import blake2b
from operator import attrgetter

from forge_pipelines.corpus.cleaning import CleaningJob
from forge_pipelines.corpus.remembered import KEY_BYTES
from forge_pipelines.corpus.repeated_lines import Hashes, RepeatedLinesRule
from forge_pipelines.manifest import Document, digest

Keys = Callable[[Sequence[Document]], list[bytes]]
"""Gives the key of each document."""

_ELSEWHERE = {"name", "description", "sources", "contributions", "near_duplicates", "split", "expectations"}
"""What a corpus's YAML says that changes nothing of what cleaning makes of a document."""

_labels = attrgetter(*(each.name for each in fields(Document) if each.name != "segments"))
_NONE, _BETWEEN = "\x00", "\x1f"


def line_keys(rule: RepeatedLinesRule, version: str) -> Keys:
    """Return what gives the keys of the hashes of lines.

    Args:
        rule: which lines are hashed.
        version: of the code.
    """
    asked = digest(["lines", rule.min_characters, version])
    return lambda documents: [_key(asked, document) for document in documents]


def fate_keys(job: CleaningJob, version: str, repeated: Callable[[Sequence[Document]], list[Hashes]]) -> Keys:
    """Return what gives the keys of fates.

    Args:
        job: what is done with documents.
        version: of the code and of the files that are named in a corpus's YAML.
        repeated: gives the lines of each document that repeat in its source.
    """
    config = job.config.model_dump(mode="json", exclude=_ELSEWHERE)
    asked = digest(["fates", config, job.config.near_duplicates.enabled, version])

    def keys(documents: Sequence[Document]) -> list[bytes]:
        return [
            _key(asked, document, _expiry(document, job.expired_by), lines.tobytes())
            for document, lines in zip(documents, repeated(documents), strict=True)
        ]

    return keys


def _expiry(document: Document, expired_by: date | None) -> bytes:
    return str(expired_by).encode() if document.expires_at else b""


def _key(asked: str, document: Document, *more: bytes) -> bytes:
    form = [f"{segment.role}{_BETWEEN}{len(segment.text)}" for segment in document.segments]
    parts = [asked, *[_NONE if label is None else label for label in _labels(document)], *form]
    return blake2b(
        _BETWEEN.join(parts).encode("utf-8", "surrogatepass") + b"".join(more), digest_size=KEY_BYTES
    ).digest()
