"""The real documents: those of the corpus, and passages of others, which are the hosts of what is planted."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from documents_in_memory import document
from near_copies.documents import NUM_DOCUMENTS, NUM_PLANTED, Text, documents
from planted.debian import manual_pages, pages

from forge_pipelines.corpus.quality import QualityRules, judge_quality
from forge_pipelines.sources.readers.code import media_type
from forge_pipelines.sources.readers.language import language_of

ALLOWED = ("en", "de", "fr", "es", "it", "pt", "sv")
FORBIDDEN = ("ru", "ja", "nl", "ko")
CORPUS_LANGUAGES = ("en", "pt", "sv")
"""Languages of the guide whose pages are documents of the corpus; of the others come hosts."""

HOST_LANGUAGES = ("de", "fr", "es", "it")

_HOST_CHARACTERS = 1500
FULL, SPARE = 10_000, 400
"""Real documents of a corpus, and those that are gathered beyond: Python sources among the last are hosts."""

_PYTHON = "text/x-python"
_SUFFIXES = frozenset({".py", ".md", ".rst"})


@dataclass(frozen=True, slots=True)
class Estate:
    """What there is before anything is planted.

    Attributes:
        documents: texts of the corpus's real documents, by path.
        sound: paths of those whose language and quality pass: what is a copy of them is not rejected for these.
        near_copies: planted copies of known similarity; their originals are paths.
        hosts: prose by language, and code, that is not in the corpus.
    """

    documents: Mapping[str, str]
    sound: frozenset[str]
    near_copies: Sequence[Text]
    hosts: Mapping[str, Sequence[str]]


def gather(number: int, dice: random.Random) -> Estate:
    """Return an estate with so many real documents; `FULL` is a multiple of their number."""
    gathered = documents((FULL + SPARE) * NUM_DOCUMENTS // (NUM_DOCUMENTS - NUM_PLANTED))
    copied = {each.original for each in gathered if each.original is not None}
    real = {each.name: each.text for each in gathered if each.original is None}
    code = [name for name in real if name.endswith(".py") and name not in copied][-SPARE:]
    guide = {page_path(language, name): page_text(page) for language, name, page in _guide()}
    staying = [name for name in real if name not in set(code)][:: FULL // number][: number - len(guide)]
    paths = {name: f"documents/{place:05}{_suffix(name)}" for place, name in enumerate(staying)}
    texts = {path: real[name] for name, path in paths.items()} | guide
    near = [replace(each, original=paths[each.original]) for each in gathered if each.original in paths]
    sources = {"en": manual_pages(), **{each: list(pages(each).values()) for each in HOST_LANGUAGES}}
    hosts = {language: _shuffled(_hosts(language, source), dice) for language, source in sources.items()}
    hosts["code"] = _shuffled([real[name] for name in code if media_type(real[name]) == _PYTHON], dice)
    return Estate(texts, frozenset(sound(texts)), near, hosts)


def page_path(language: str, name: str) -> str:
    """Return where a page of the guide stands in the estate."""
    return f"documents/guide-{language}-{name}.txt"


def page_text(paragraphs: Iterable[str]) -> str:
    return "\n\n".join(paragraphs) + "\n"


def sound(texts: Mapping[str, str]) -> Iterator[str]:
    """Yield the paths of code, and of prose in a language that the corpus takes, whose quality passes all rules."""
    code = [path for path, text in texts.items() if media_type(text) is not None]
    is_code = frozenset(code)
    prose = [document("estate", path, text) for path, text in texts.items() if path not in is_code]
    judged = [replace(each, language=language_of(each.text), media_type="text/plain") for each in prose]
    yield from code
    yield from (each.uri for each in judge_quality(judged, QualityRules()).kept if each.language in ALLOWED)


def _hosts(language: str, those: Iterable[Sequence[str]]) -> list[str]:
    passages = {str(place): each for place, each in enumerate(chain.from_iterable(map(_passages, those)))}
    return [passages[place] for place in sound(passages) if language_of(passages[place]) == language]


def _passages(paragraphs: Iterable[str]) -> Iterator[str]:
    passage: list[str] = []
    for paragraph in paragraphs:
        passage.append(paragraph)
        if sum(map(len, passage)) >= _HOST_CHARACTERS:
            yield page_text(passage)
            passage = []


def _guide() -> Iterator[tuple[str, str, Sequence[str]]]:
    return ((language, name, page) for language in CORPUS_LANGUAGES for name, page in pages(language).items())


def _shuffled(texts: Sequence[str], dice: random.Random) -> list[str]:
    distinct = list(dict.fromkeys(texts))
    return dice.sample(distinct, len(distinct))


def _suffix(name: str) -> str:
    suffix = Path(name).suffix
    return suffix if suffix in _SUFFIXES else ".txt"
