"""Tags of tokens → entities → findings: which characters of a text a token classifier marks, each once and whole."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from forge_pipelines.corpus.personal.findings import Found, Kind
from forge_pipelines.corpus.personal.labels import Tag

# Scripts that write no blank between words: each token stands for itself.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
# -Lena of Anna-Lena and 'Neil of O'Neil, but neither -based nor 's
_REST_OF_NAME = re.compile(r"(?:[-'’\u2010](?=[^\W\d_])(?![a-zß-öø-ÿ])\w+)*")
# What may stand between the parts of a name, and of an address, where each part has a label of its own.
_BETWEEN_PARTS = {Kind.NAME: re.compile(r"[^\S\n]*"), Kind.ADDRESS: re.compile(r"[\s,]*")}


@dataclass(frozen=True, slots=True)
class Entity:
    """Characters ``start`` to ``stop`` (exclusive) of a text, under one label of a model's."""

    label: str
    start: int
    stop: int


def merge_tags(text: str, spans: Iterable[tuple[int, int]], tags: Sequence[Tag]) -> list[Entity]:
    """Return the entities of a text, in its order.

    The first token of a word says what the word is: models are trained on that token alone, and what they say of the
    others means nothing.

    Args:
        text: the text.
        spans: the characters (start, exclusive stop) of each token, in the order of the text; blanks may lead.
        tags: a tag for each token.
    """
    entities: list[Entity] = []
    previous, reached = Tag(""), 0
    for (begin, stop), tag in zip(spans, tags, strict=True):
        token = text[begin:stop].lstrip()
        start = stop - len(token)
        if not token:
            continue
        in_word = start < reached or _is_within_word(text, start)
        said, reached = previous if in_word else tag, max(reached, stop)
        if said.label and (in_word or _goes_on(previous, said)):
            entities[-1] = Entity(said.label, entities[-1].start, reached)
        elif said.label:
            entities.append(Entity(said.label, start, stop))
        previous = said
    return entities


def found_entities(text: str, entities: Iterable[Entity], kinds: Mapping[str, Kind]) -> list[Found]:
    """Return as findings those entities whose labels have a kind.

    Neighbours of one kind whose labels differ are parts of one finding: a given name and a surname, a street and a
    number. The rest of a name that is joined by a hyphen or an apostrophe belongs to it.
    """
    findings: list[Found] = []
    last = ""
    for entity in entities:
        kind = kinds.get(entity.label)
        if kind is None or (findings and entity.stop <= findings[-1].stop):
            continue
        found = Found(kind, entity.start, entity.stop)
        if kind is Kind.NAME and (rest := _REST_OF_NAME.match(text, entity.stop)):
            found = Found(kind, entity.start, rest.end())
        if findings and last != entity.label and _are_parts(text, findings[-1], found):
            found = Found(kind, findings.pop().start, found.stop)
        findings.append(found)
        last = entity.label
    return findings


def _goes_on(previous: Tag, tag: Tag) -> bool:
    return tag.label == previous.label and not tag.begins and not previous.ends


def _is_within_word(text: str, start: int) -> bool:
    around = text[max(0, start - 1) : start + 1]
    return len(around) == 2 and around.isalnum() and not _UNSPACED.search(around)


def _are_parts(text: str, one: Found, other: Found) -> bool:
    return one.kind is other.kind and _BETWEEN_PARTS[one.kind].fullmatch(text, one.stop, other.start) is not None
