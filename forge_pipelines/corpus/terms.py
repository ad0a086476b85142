"""The terms under which documents may be used: their licence, their expiry, their purpose."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from functools import cache

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from pydantic import Field, field_validator

from forge_pipelines.corpus.steps import Outcome, reject
from forge_pipelines.manifest import Document, Licence, Rejection, Value

LICENCE, EXPIRY, PURPOSE = "licence", "expiry", "purpose"

_TOKENS = re.compile(r"[()]|[^\s()]+")


class Terms(Value):
    """Terms of use that a corpus takes documents under."""

    licences: tuple[Licence, ...] = Field(
        (),
        description="SPDX identifiers that are allowed: of `A OR B` one suffices, of `A AND B` both are needed. "
        "Default: every licence.",
    )
    purposes: tuple[str, ...] = Field(
        (), description="Purposes that are allowed, as documents' labels write them. Default: every purpose."
    )
    keep_without_purpose: bool = Field(True, description="Keep documents whose use is not limited to a purpose.")
    reject_expired: bool = Field(True, description="Reject documents on the day (UTC) that they expire, and after.")

    @field_validator("licences")
    @classmethod
    def _single_licences(cls, licences: tuple[str, ...]) -> tuple[str, ...]:
        for licence in licences:
            if {"AND", "OR"} & set(licence.split()):
                raise ValueError(f"{licence!r} is several licences: write each of them that is allowed by itself")
        return licences


def last_expiry(expiries: Iterable[str | None], today: date) -> date | None:
    """Return the last day not after `today` on which any document expires; None, if none has expired yet.

    A corpus made on another day is the same until another document has expired: this day, not the clock, belongs into
    the request, and is what `hold_to_terms` is handed.

    Args:
        expiries: the documents' `expires_at`: ISO 8601 in UTC, or None.
        today: the day in UTC.
    """
    days = {_day(expiry) for expiry in expiries if expiry is not None}
    return max((day for day in days if day <= today), default=None)


def hold_to_terms(documents: Sequence[Document], terms: Terms, expired_by: date | None) -> Outcome:
    """Reject documents that may not be used under the corpus's terms.

    Args:
        documents: a batch.
        terms: the terms.
        expired_by: what `last_expiry` returned: a document that expires on that day or before has expired.
    """
    kept: list[Document] = []
    rejected: list[Rejection] = []
    for document in documents:
        broken = _broken(document, terms, expired_by)
        if broken is None:
            kept.append(document)
        else:
            rejected.append(reject(document, *broken))
    return Outcome(kept, rejected)


def allows(licence: str, allowed: Iterable[str]) -> bool:
    """Tell whether an SPDX expression (SPDX 3.0, annex B) lets documents be used under allowed licences alone.

    An exception only adds to what a licence permits, and `+` lets one choose its own version: so `A WITH B`, and `A+`,
    are allowed where `A` is.

    Raises:
        InvalidLicenseExpression: it is no SPDX expression.
    """
    return _allows(licence, frozenset(allowed))


@cache
def _allows(licence: str, allowed: frozenset[str]) -> bool:
    # The canonical form has no operators but these, and its parentheses match.
    return _either(_TOKENS.findall(canonicalize_license_expression(licence))[::-1], allowed)


def _either(tokens: list[str], allowed: frozenset[str]) -> bool:
    """Take alternatives, joined by OR, from the end of reversed tokens."""
    verdict = _both(tokens, allowed)
    while tokens and tokens[-1] == "OR":
        tokens.pop()
        verdict |= _both(tokens, allowed)
    return verdict


def _both(tokens: list[str], allowed: frozenset[str]) -> bool:
    """Take licences joined by AND, which binds closer."""
    verdict = _one(tokens, allowed)
    while tokens and tokens[-1] == "AND":
        tokens.pop()
        verdict &= _one(tokens, allowed)
    return verdict


def _one(tokens: list[str], allowed: frozenset[str]) -> bool:
    token = tokens.pop()
    if token == "(":
        verdict = _either(tokens, allowed)
        tokens.pop()
        return verdict
    names = {token, token.removesuffix("+")}
    if tokens and tokens[-1] == "WITH":
        tokens.pop()
        names.add(f"{token} WITH {tokens.pop()}")
    return not names.isdisjoint(allowed)


def _broken(document: Document, terms: Terms, expired_by: date | None) -> tuple[str, str] | None:
    if terms.licences:
        try:
            if not allows(document.licence, terms.licences):
                return LICENCE, f"licence {document.licence}, where {', '.join(terms.licences)} are allowed"
        except InvalidLicenseExpression:
            return LICENCE, f"licence {document.licence!r} is no SPDX expression"
    expires_on = None if document.expires_at is None else _day(document.expires_at)
    if terms.reject_expired and expired_by is not None and expires_on is not None and expires_on <= expired_by:
        return EXPIRY, f"expired on {expires_on}"
    if terms.purposes and document.purpose is None and not terms.keep_without_purpose:
        return PURPOSE, f"no purpose, where {', '.join(terms.purposes)} are allowed"
    if terms.purposes and document.purpose is not None and document.purpose not in terms.purposes:
        return PURPOSE, f"purpose {document.purpose!r}, where {', '.join(terms.purposes)} are allowed"
    return None


def _day(moment: str) -> date:
    parsed = datetime.fromisoformat(moment)
    return (parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)).date()
