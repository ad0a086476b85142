"""Rules of one's own: Python functions that the YAML names.

A rule is a function of a document and of the arguments that the YAML gives it: it returns a reason to reject the
document, or None to keep it, or the document with other text or another language.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from textwrap import shorten
from types import ModuleType
from typing import Any, TypeGuard

from pydantic import Field

from forge_pipelines.corpus.steps import Outcome, reject
from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import Document, Rejection, Segment, Value, digest, sha256_text

_SHOWN_CHARACTERS = 300
_SURROGATE = re.compile("[\ud800-\udfff]")
_sources: dict[str, str] = {}  # the SHA-256 that each rule's file had when this process last ran it


class OwnRule(Value):
    """A rule of one's own."""

    rule: str = Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
        description="`module:function`, where Python finds it. Rejections name the rule so.",
    )
    arguments: Mapping[str, Any] = Field(
        default_factory=dict, description="Handed to the function by name, after the document."
    )


@dataclass(frozen=True, slots=True)
class LoadedRule:
    """A rule and its function: `function(document, **arguments)`."""

    rule: str
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    source_sha256: str


def load_rules(rules: Sequence[OwnRule]) -> tuple[LoadedRule, ...]:
    """Import the functions of rules; a module whose file has changed since this process read it is read again.

    Raises:
        ConfigError: a module cannot be imported or has no such function, or the function does not take the arguments.
    """
    return tuple(_load(rule) for rule in rules)


def code_version_of(rules: Sequence[OwnRule]) -> str:
    """Return a SHA-256 of the files in which the rules' functions stand, empty without rules.

    What those files import from elsewhere is not a part of it.

    Raises:
        ConfigError: see `load_rules`.
    """
    return digest([[rule.rule, rule.source_sha256] for rule in load_rules(rules)]) if rules else ""


def hold_to_own_rule(documents: Sequence[Document], rule: LoadedRule) -> Outcome:
    """Ask a rule about each document.

    Raises:
        DataError: the rule raises an error, or returns what it may not.
    """
    kept: list[Document] = []
    rejected: list[Rejection] = []
    for document in documents:
        answer = _ask(rule, document)
        if answer is None:
            kept.append(document)
        elif isinstance(answer, Document):
            kept.append(_changed(rule, document, answer))
        else:
            rejected.append(reject(document, rule.rule, shorten(answer, _SHOWN_CHARACTERS)))
    return Outcome(kept, rejected)


def _load(rule: OwnRule) -> LoadedRule:
    module_name, _, name = rule.rule.partition(":")
    try:
        module, home = _import(rule.rule, module_name, name)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        where = "it must be a module that Python finds, such as one of your project's package"
        raise ConfigError(f"rule {rule.rule} cannot be imported: {_said(error)}; {where}") from error
    function = getattr(module, name, None)
    if function is None:
        raise ConfigError(f"rule {rule.rule}: {module.__file__} has no function {name}; write one, or another name")
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise ConfigError(f"rule {rule.rule}: {name} is no function of a document, but {_kind(function)}")
    try:
        inspect.signature(function).bind(None, **rule.arguments)
    except (TypeError, ValueError) as error:
        given = ", ".join(["a document", *rule.arguments])
        raise ConfigError(f"rule {rule.rule} cannot be given {given}: {error}; mend its `arguments`") from error
    hashes = [_sha256(rule.rule, each) for each in (module, home)]
    return LoadedRule(rule.rule, function, rule.arguments, digest(hashes))


def _import(rule: str, module_name: str, name: str) -> tuple[ModuleType, ModuleType]:
    """Return the module that a rule names, and the one in which its function stands; both as their files are now."""
    module = importlib.import_module(module_name)
    _refresh(rule, module)
    function: Any = getattr(module, name, None)
    home = inspect.getmodule(inspect.unwrap(function)) or module
    if home is not module and _refresh(rule, home):
        importlib.reload(module)  # it still has the function that there was
    return module, home


def _refresh(rule: str, module: ModuleType) -> bool:
    """Read a module again, if its file has changed since this process read it; tell whether it has."""
    source = _sha256(rule, module)
    changed = _sources.setdefault(module.__name__, source) != source
    if changed:
        importlib.reload(module)
        _sources[module.__name__] = source
    return changed


def _sha256(rule: str, module: ModuleType) -> str:
    path = getattr(module, "__file__", None)
    if path is None or not path.endswith(".py"):
        raise ConfigError(f"rule {rule} stands in no Python file; name a function of one, so that changes are seen")
    return sha256(Path(path).read_bytes()).hexdigest()


def _ask(rule: LoadedRule, document: Document) -> str | Document | None:
    try:
        answer = rule.function(document, **rule.arguments)
    except (Exception, SystemExit) as error:
        message = f"rule {rule.rule} fails on {document.source}: {document.uri} and nothing was published: "
        raise DataError(f"{message}{_said(error)}; mend the rule") from error
    if answer is None or isinstance(answer, Document) or (_is_text(answer) and answer.strip()):
        return answer
    raise DataError(_nonsense(rule, document, _kind(answer)))


def _changed(rule: LoadedRule, document: Document, answer: Document) -> Document:
    """Return the changed document with the hash of its text.

    Raises:
        DataError: more than text and language was changed, or the text is none.
    """
    segments = answer.segments
    sound = isinstance(segments, tuple) and all(
        isinstance(each, Segment) and _is_text(each.role) and _is_text(each.text) for each in segments
    )
    if not sound or not segments:
        raise DataError(_nonsense(rule, document, "a document whose segments are no text"))
    if answer.language is not None and not _is_text(answer.language):
        raise DataError(_nonsense(rule, document, f"a document in the language {_kind(answer.language)}"))
    changed = replace(document, segments=segments, language=answer.language)
    if replace(changed, text_sha256=answer.text_sha256) != answer:
        raise DataError(_nonsense(rule, document, "a document with another identity or other labels"))
    return replace(changed, text_sha256=sha256_text(changed.text))


def _is_text(value: object) -> TypeGuard[str]:
    """Tell text that can be stored: a lone surrogate cannot."""
    return isinstance(value, str) and not _SURROGATE.search(value)


def _nonsense(rule: LoadedRule, document: Document, what: str) -> str:
    return (
        f"rule {rule.rule} returns {what} for {document.source}: {document.uri} and nothing was published; it must "
        "return a reason to reject (text), None, or the document with other text or language"
    )


def _kind(value: object) -> str:
    return f"{shorten(repr(value), 80)} ({type(value).__name__})"


def _said(error: BaseException) -> str:
    return shorten(f"{type(error).__name__}: {error}", _SHOWN_CHARACTERS)
