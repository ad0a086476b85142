"""The values that move between stages, and the fingerprints that identify them. No input or output here."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from typing import Annotated, Any, Literal, Self

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
"""The name of a source, corpus or model: it stands in asset keys, folders, database rows and addresses."""


def _spdx(expression: str) -> str:
    try:
        return canonicalize_license_expression(expression)
    except InvalidLicenseExpression as error:
        example = "an identifier such as Apache-2.0, or LicenseRef- and a name of your own"
        raise ValueError(f"{expression!r} is no SPDX licence expression; write {example}") from error


Licence = Annotated[str, AfterValidator(_spdx)]
"""An SPDX licence expression, as https://spdx.org/licenses lists the identifiers, in its canonical spelling."""

STAGES = (
    "raw_documents",
    "validated_corpus",
    "tokenized_shards",
    "trained_checkpoint",
    "evaluation_report",
    "registered_model",
)


class Value(BaseModel):
    """A frozen value that knows all its fields: the base of every configuration and manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Classification(StrEnum):
    """How widely a document may be seen. Labels only get stricter on the way down the chain."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"

    @classmethod
    def strictest(cls, labels: Iterable[Self | str]) -> Self:
        """Return the strictest of ``labels``; at least one is needed."""
        order = list(cls)
        return max((cls(label) for label in labels), key=order.index)


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a document: its ``role`` is ``text``, or a speaker of a chat."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """One document as text, with its identity and labels. Times are ISO 8601 in UTC; hashes are hexadecimal SHA-256."""

    doc_id: str
    text_sha256: str
    parent_id: str | None
    kind: Literal["text", "chat", "preference"]
    segments: tuple[Segment, ...]
    source: str
    uri: str
    media_type: str
    raw_sha256: str
    language: str | None
    licence: str
    classification: str
    owner: str | None
    purpose: str | None
    retrieved_at: str | None
    expires_at: str | None

    @property
    def text(self) -> str:
        """The canonical text: the segments' texts, a blank line between them."""
        return "\n\n".join(segment.text for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A document that a rule refused, with the reason in words and at most 200 characters of it."""

    doc_id: str
    source: str
    uri: str
    stage: str
    rule: str
    reason: str
    excerpt: str


class FileEntry(Value):
    """One file of a published stage: its path relative to the manifest, its size in bytes and its SHA-256."""

    path: str
    num_bytes: int
    sha256: str


class StageRequest(Value):
    """What a stage is asked for. Two equal requests are one piece of work, whoever asks.

    Attributes:
        inputs: fingerprint of each upstream manifest (or of a listing), by role.
        code_version: see `code_version`.
    """

    kind: str
    name: Name
    inputs: Mapping[str, str]
    parameters: Mapping[str, Any]
    code_version: str

    @property
    def key(self) -> str:
        """Identity of the request, 64 hexadecimal digits: where its result stands in the store."""
        return digest(self.model_dump(mode="json"))


class Manifest(Value):
    """What a stage published, and the only thing that a downstream stage is handed.

    Attributes:
        counts: what was made, in numbers, for people and for gates.
        measured: how the making went (speed, devices, restarts). Like ``created_at`` and ``made_in_seconds``, wall time
            of the work, it is not part of the fingerprint: the same result made slower is the same result.
    """

    kind: str
    name: Name
    key: str
    fingerprint: str
    inputs: Mapping[str, str]
    parameters: Mapping[str, Any]
    code_version: str
    files: tuple[FileEntry, ...]
    counts: Mapping[str, Any]
    classification: Classification
    measured: Mapping[str, Any]
    created_at: str
    made_in_seconds: float

    def computed_fingerprint(self) -> str:
        """Return the fingerprint that the contents call for; a sound manifest's equals its ``fingerprint``."""
        return digest(
            self.model_dump(mode="json", exclude={"fingerprint", "measured", "created_at", "made_in_seconds"})
        )

    @property
    def num_bytes(self) -> int:
        """Size of all files together, in bytes."""
        return sum(entry.num_bytes for entry in self.files)


def digest(value: object) -> str:
    """Return the SHA-256 of a JSON-able value in canonical form (sorted keys, no spaces), as 64 hexadecimal digits."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def sha256_text(text: str) -> str:
    """Return the SHA-256 of ``text`` as UTF-8; a lone surrogate is hashed as it is stored."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def code_version(stage_version: str, *libraries: str) -> str:
    """Name the code that shapes a stage's output: the stage's own constant, then its libraries' installed versions."""
    return "+".join([stage_version, *(f"{library}-{version(library)}" for library in libraries)])
