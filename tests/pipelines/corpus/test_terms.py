from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from documents_in_memory import document
from packaging.licenses import InvalidLicenseExpression
from pydantic import ValidationError

from forge_pipelines.corpus.terms import Terms, allows, hold_to_terms, last_expiry

TODAY = date(2026, 11, 25)


def reasons(terms: dict[str, Any], expired_by: date | None = None, **labels: Any) -> list[tuple[str, str]]:
    labelled = replace(document("s", "a.md", "text"), **labels)
    outcome = hold_to_terms([labelled], Terms.model_validate(terms), expired_by)
    assert len(outcome.kept) + len(outcome.rejected) == 1
    return [(each.rule, each.reason) for each in outcome.rejected]


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("mit", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("MIT AND Apache-2.0", True),
        ("GPL-3.0-only AND MIT OR Apache-2.0", True),
        ("GPL-3.0-only AND (MIT OR Apache-2.0)", False),
        ("MIT AND (GPL-3.0-only OR (BSD-3-Clause OR Apache-2.0))", True),
        ("(GPL-3.0-only)", False),
        ("GPL-2.0-only WITH Classpath-exception-2.0", True),
        ("GPL-2.0-only", False),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("EUPL-1.2+", True),
        ("LicenseRef-Own", True),
        ("LicenseRef-Other", False),
    ],
)
def test_or_needs_one_licence_that_is_allowed_and_and_needs_all(licence: str, allowed: bool) -> None:
    licences = ["MIT", "Apache-2.0", "GPL-2.0-only WITH Classpath-exception-2.0", "EUPL-1.2", "LicenseRef-Own"]
    assert allows(licence, licences) is allowed


def test_a_licence_that_is_not_allowed_is_named_with_those_that_are() -> None:
    terms = {"licences": ["mit", "Apache-2.0"]}
    said = "licence GPL-3.0-only, where MIT, Apache-2.0 are allowed"
    assert reasons(terms, licence="GPL-3.0-only") == [("licence", said)]
    assert reasons({}, licence="GPL-3.0-only") == []


def test_what_is_no_spdx_expression_is_rejected_and_no_crash() -> None:
    assert reasons({"licences": ["MIT"]}, licence="free for all") == [
        ("licence", "licence 'free for all' is no SPDX expression")
    ]
    with pytest.raises(InvalidLicenseExpression):
        allows("MIT OR", ["MIT"])


@pytest.mark.parametrize(
    ("licence", "sentence"),
    [("MIT OR Apache-2.0", "is several licences: write each of them"), ("public", "is no SPDX licence expression")],
)
def test_the_allow_list_holds_single_licences(licence: str, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Terms(licences=(licence,))


@pytest.mark.parametrize(
    ("expires_at", "expired"),
    [
        ("2026-11-24T10:00:00+00:00", True),
        ("2026-11-25T23:59:59+00:00", True),
        ("2026-11-26T00:00:00+00:00", False),
        ("2026-11-26T00:30:00+01:00", True),
        ("2026-11-25T23:00:00", True),
        (None, False),
    ],
)
def test_a_document_expires_with_its_day_in_utc(expires_at: str | None, expired: bool) -> None:
    expired_by = last_expiry([expires_at], TODAY)
    expected = [("expiry", "expired on")] if expired else []
    assert [(rule, reason[:10]) for rule, reason in reasons({}, expired_by, expires_at=expires_at)] == expected
    assert reasons({"reject_expired": False}, expired_by, expires_at=expires_at) == []


def test_another_day_changes_nothing_until_another_document_expires() -> None:
    expiries = ["2026-11-20T00:00:00+00:00", "2026-11-23T00:00:00+00:00", "2026-12-24T00:00:00+00:00", None]
    days = {day: last_expiry(expiries, date(2026, 11, day)) for day in range(19, 27)}
    assert days[19] is None
    assert {days[20], days[21], days[22]} == {date(2026, 11, 20)}
    assert {days[23], days[24], days[26]} == {date(2026, 11, 23)}
    assert last_expiry([None], TODAY) is last_expiry([], TODAY) is None
    for expiry in expiries[:3]:
        assert bool(reasons({}, last_expiry(expiries, TODAY), expires_at=expiry)) == (expiry < "2026-11-26")  # type: ignore[operator]


def test_purposes_are_allowed_by_name() -> None:
    terms = {"purposes": ["training", "support"]}
    assert reasons(terms, purpose="support") == reasons(terms, purpose=None) == reasons({}, purpose="billing") == []
    assert reasons(terms, purpose="billing") == [("purpose", "purpose 'billing', where training, support are allowed")]
    strict = {**terms, "keep_without_purpose": False}
    assert reasons(strict, purpose=None) == [("purpose", "no purpose, where training, support are allowed")]
