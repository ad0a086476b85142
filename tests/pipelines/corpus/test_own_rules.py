import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from documents_in_memory import document
from pydantic import ValidationError

from forge_pipelines.corpus.own_rules import OwnRule, code_version_of, hold_to_own_rule, load_rules
from forge_pipelines.corpus.steps import Outcome
from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import Segment, sha256_text

MODULE = """
from dataclasses import replace
from forge_pipelines.manifest import Segment

NUMBER = 7

def no_drafts(document, word="DRAFT", most=0):
    count = document.text.count(word)
    return f"says {word} {count} times" if count > most else None

def shout(document):
    return replace(document, segments=tuple(Segment(s.role, s.text.upper()) for s in document.segments), language="en")

def fails(document):
    return document.text[1_000_000]

def nonsense(document, answer):
    return answer

def hand_out(document, **changes):
    return replace(document, **changes)

async def later(document):
    return None
"""
PAGES = [document("wiki", "a.md", "A page."), document("wiki", "b.md", "A DRAFT of a DRAFT.")]


@pytest.fixture(autouse=True)
def rules_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of rules, as a data engineer writes it, where Python finds it."""
    path = tmp_path / "house_rules.py"
    path.write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("house_rules", "front_rules", "broken_rules"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return path


def rule(name: str, **arguments: Any) -> OwnRule:
    return OwnRule(rule=name if ":" in name else f"house_rules:{name}", arguments=arguments)


def hold(name: str, **arguments: Any) -> Outcome:
    (loaded,) = load_rules([rule(name, **arguments)])
    return hold_to_own_rule(PAGES, loaded)


def test_a_reason_rejects_and_none_keeps() -> None:
    outcome = hold("no_drafts")
    assert outcome.kept == PAGES[:1]
    (rejection,) = outcome.rejected
    assert (rejection.uri, rejection.rule) == ("b.md", "house_rules:no_drafts")
    assert rejection.reason == "says DRAFT 2 times" and rejection.excerpt == PAGES[1].text


def test_the_yaml_s_arguments_reach_the_function() -> None:
    assert hold("no_drafts", word="page").rejected[0].uri == "a.md"
    assert hold("no_drafts", most=2).kept == PAGES


def test_a_changed_document_is_kept_with_the_hash_of_its_text() -> None:
    for before, kept in zip(PAGES, hold("shout").kept, strict=True):
        text = before.text.upper()
        changed = replace(before, segments=(Segment("text", text),), text_sha256=sha256_text(text), language="en")
        assert kept == changed


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        (
            "no_such_module:rule",
            {},
            "rule no_such_module:rule cannot be imported: ModuleNotFoundError: No module named",
        ),
        ("broken_rules:rule", {}, "rule broken_rules:rule cannot be imported: ZeroDivisionError: division by zero; it"),
        ("house_rules:no_such", {}, "house_rules.py has no function no_such; write one, or another name"),
        ("house_rules:NUMBER", {}, "rule house_rules:NUMBER: NUMBER is no function of a document, but 7 (int)"),
        ("house_rules:later", {}, "rule house_rules:later: later is no function of a document, but <function later"),
        ("no_drafts", {"wrod": "x"}, "no_drafts cannot be given a document, wrod: got an unexpected keyword argument"),
        ("no_drafts", {"document": "x"}, "cannot be given a document, document: multiple values for argument"),
        ("nonsense", {}, "cannot be given a document: missing a required argument: 'answer'; mend its `arguments`"),
        ("builtins:len", {}, "rule builtins:len stands in no Python file; name a function of one"),
    ],
)
def test_what_is_no_rule_is_one_sentence_when_definitions_load(
    tmp_path: Path, name: str, arguments: dict[str, Any], sentence: str
) -> None:
    (tmp_path / "broken_rules.py").write_text("1 / 0\n")
    for load in (load_rules, code_version_of):
        with pytest.raises(ConfigError) as caught:
            load([rule(name, **arguments)])
        assert sentence in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["house_rules", "house_rules:", "house rules:no_drafts", "house_rules:a.b", "../x:y"])
def test_what_does_not_name_a_function_is_refused_with_its_field(name: str) -> None:
    with pytest.raises(ValidationError, match="rule\n"):
        OwnRule(rule=name)


def test_a_rule_that_raises_is_one_sentence_with_rule_document_and_error() -> None:
    with pytest.raises(DataError) as caught:
        hold("fails")
    assert str(caught.value) == (
        "rule house_rules:fails fails on wiki: a.md and nothing was published: IndexError: string index out of range; "
        "mend the rule"
    )


@pytest.mark.parametrize("answer", [True, False, 0, "", " ", 3.5, ["reason"], {"reject": True}, b"reason"])
def test_a_rule_that_returns_nonsense_is_one_sentence(answer: Any) -> None:
    with pytest.raises(DataError) as caught:
        hold("nonsense", answer=answer)
    assert str(caught.value) == (
        f"rule house_rules:nonsense returns {answer!r} ({type(answer).__name__}) for wiki: a.md and nothing was "
        "published; it must return a reason to reject (text), None, or the document with other text or language"
    )


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"classification": "public"}, "a document with another identity or other labels"),
        ({"doc_id": "0" * 64}, "a document with another identity or other labels"),
        ({"licence": "MIT"}, "a document with another identity or other labels"),
        ({"segments": "text"}, "a document whose segments are no text"),
        ({"segments": ()}, "a document whose segments are no text"),
        ({"segments": (Segment("text", None),)}, "a document whose segments are no text"),  # type: ignore[arg-type]
    ],
)
def test_a_rule_changes_text_and_language_alone(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(DataError, match=f"rule house_rules:hand_out returns {what} for wiki: a.md"):
        hold("hand_out", **changes)


def test_the_code_version_is_that_of_the_rules_files(rules_module: Path) -> None:
    rules = [rule("no_drafts")]
    before = code_version_of(rules)
    assert code_version_of(rules) == before != code_version_of([rule("shout")])
    assert code_version_of([]) == ""
    rules_module.write_text(MODULE + "\n# reviewed\n")
    assert code_version_of(rules) != before


def test_a_rule_in_another_file_counts_with_both_files(tmp_path: Path) -> None:
    (tmp_path / "front_rules.py").write_text("from house_rules import no_drafts\n")
    rules = [rule("front_rules:no_drafts")]
    before = code_version_of(rules)
    assert hold("front_rules:no_drafts").rejected[0].reason == "says DRAFT 2 times"
    (tmp_path / "house_rules.py").write_text(MODULE.replace("says {word}", "has the word {word}"))
    assert code_version_of(rules) != before
    assert hold("front_rules:no_drafts").rejected[0].reason == "has the word DRAFT 2 times"


def test_a_file_that_changes_under_a_running_process_is_read_again(rules_module: Path) -> None:
    assert hold("no_drafts").rejected[0].reason == "says DRAFT 2 times"
    rules_module.write_text(MODULE.replace("says {word}", "has the word {word}"))
    assert hold("no_drafts").rejected[0].reason == "has the word DRAFT 2 times"
