"""The keys under which results are remembered: hashes of all that a result depends on."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from hashlib import blake2b

import pyarrow as pa

from forge_pipelines.columns import LABELS, forms_of
from forge_pipelines.corpus.cleaning import CleaningJob
from forge_pipelines.corpus.remembered import KEY_BYTES
from forge_pipelines.corpus.repeated_lines import Hashes, RepeatedLinesRule
from forge_pipelines.manifest import digest

Keys = Callable[[pa.Table], list[bytes]]
"""Gives the key of each document of a table."""

_ELSEWHERE = {"name", "description", "sources", "contributions", "near_duplicates", "split", "expectations"}
"""What a corpus's YAML says that changes nothing of what cleaning makes of a document."""

_NONE, _BETWEEN = "\x00", "\x1f"


def line_keys(rule: RepeatedLinesRule, version: str) -> Keys:
    """Return what gives the keys of the hashes of lines.

    Args:
        rule: which lines are hashed.
        version: of the code.
    """
    asked = digest(["lines", rule.min_characters, version])
    return lambda documents: [_key(known, b"") for known in _known(asked, documents)]


def fate_keys(job: CleaningJob, version: str, repeated: Callable[[pa.Table], Sequence[Hashes]]) -> Keys:
    """Return what gives the keys of fates.

    Args:
        job: what is done with documents.
        version: of the code and of the files that are named in a corpus's YAML.
        repeated: gives the lines of each document that repeat in its source.
    """
    config = job.config.model_dump(mode="json", exclude=_ELSEWHERE)
    asked = digest(["fates", config, job.config.near_duplicates.enabled, version])

    def keys(documents: pa.Table) -> list[bytes]:
        expiries = (_expiry(expires_at, job.expired_by) for expires_at in documents.column("expires_at").to_pylist())
        found = zip(_known(asked, documents), expiries, repeated(documents), strict=True)
        return [_key(known, expiry + lines.tobytes()) for known, expiry, lines in found]

    return keys


def _expiry(expires_at: str | None, expired_by: date | None) -> bytes:
    return str(expired_by).encode() if expires_at else b""


def _known(asked: str, documents: pa.Table) -> Iterator[str]:
    """Yield what is asked, and all that is known of each document but its text, of which labels hold a hash."""
    columns = (documents.column(name).to_pylist() for name in LABELS)
    for labels, form in zip(zip(*columns, strict=True), forms_of(documents), strict=True):
        said = [_NONE if label is None else label for label in labels]
        yield _BETWEEN.join([asked, *said, *(f"{role}{_BETWEEN}{length}" for role, length in form)])


def _key(known: str, more: bytes) -> bytes:
    return blake2b(known.encode("utf-8", "surrogatepass") + more, digest_size=KEY_BYTES).digest()
