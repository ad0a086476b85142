from dataclasses import replace

import py3langid
import pytest
from documents_in_memory import document
from pydantic import ValidationError

from forge_pipelines.corpus.language import CODES, LanguageRule, keep_languages
from forge_pipelines.corpus.steps import Outcome

GERMAN = "Das Ventil schließt nach sieben Umdrehungen, und danach prüft der Meister noch einmal die Dichtung."
ENGLISH = "The valve closes after seven turns, and then the foreman checks once more that the seal is tight."


def keep(text: str, uri: str = "a.md", language: str | None = None, **rule: object) -> Outcome:
    config = LanguageRule.model_validate({"allowed": ["de"], **rule})
    return keep_languages([replace(document("s", uri, text), language=language)], config)


def test_what_the_source_told_decides() -> None:
    assert keep(ENGLISH, language="de").kept
    (rejection,) = keep(GERMAN, language="en").rejected
    assert (rejection.rule, rejection.reason) == ("language", "language en, not one of de")


def test_a_document_without_language_is_judged_again_and_keeps_what_was_found() -> None:
    (kept,) = keep(GERMAN).kept
    assert kept.language == "de"
    assert [each.reason for each in keep(ENGLISH).rejected] == ["language en, not one of de"]
    (unjudged,) = keep(ENGLISH, judge_again=False).kept
    assert unjudged.language is None


def test_an_unknown_language_is_kept_or_rejected_as_the_yaml_says() -> None:
    assert keep("Kurz.").kept
    (rejection,) = keep("Kurz.", keep_unknown=False).rejected
    assert rejection.reason == "an unknown language, not one of de"


def test_code_and_tables_are_in_no_language() -> None:
    for uri in ("a.py", "a.tsv"):
        (kept,) = keep(ENGLISH, uri, keep_unknown=False).kept
        assert kept.language is None
        assert keep(ENGLISH, uri, language="en").kept


def test_every_language_that_can_be_told_can_be_allowed() -> None:
    labels = set(py3langid.langid._load_identifier().labels)
    assert labels <= CODES
    assert {"en", "de", "yue"} <= labels


@pytest.mark.parametrize("code", ["EN", "eng", "en-GB", "xx", "german", ""])
def test_what_is_no_code_is_refused_in_a_sentence(code: str) -> None:
    with pytest.raises(ValidationError, match=f"'{code}' is no ISO 639-1 code of a language; write two small letters"):
        LanguageRule(allowed=(code,))


@pytest.mark.parametrize(
    "text", ["a" * 1_000_000, "\u0000\u0001" * 100, "-" * 500, f"{GERMAN} Вентиль закрыт 阀门关闭"]
)
def test_odd_documents_get_a_verdict(text: str) -> None:
    outcome = keep(text)
    assert len(outcome.kept) + len(outcome.rejected) == 1
