"""Labelled texts, the same for the same seed, and how a search does on them."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from forge_pipelines.corpus.personal.findings import Found, Kind
from labelled import phrases
from labelled.lookalikes import LOOKALIKES
from labelled.planted import MAKERS

_PROSE_SENTENCES = 3  # before each item


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text, what was planted in it, and how many look-alikes stand between."""

    locale: str
    text: str
    planted: tuple[Found, ...]
    num_lookalikes: int


@dataclass(frozen=True, slots=True)
class Score:
    """How a search does, by kind and locale.

    Attributes:
        planted: items that were planted.
        found: those of them that a finding of their kind covers.
        false: findings that touch no item, by the kind that they claim.
    """

    planted: Mapping[tuple[Kind, str], int]
    found: Mapping[tuple[Kind, str], int]
    false: Mapping[tuple[Kind, str], int]
    num_lookalikes: int


def labelled_texts(seed: int, num_each: int) -> Iterator[Labelled]:
    """Yield texts of all locales, each with one item of every kind and as many look-alikes, in prose."""
    for locale in phrases.LOCALES:
        for number in range(num_each):
            yield _labelled(Random(f"{seed} {locale} {number}"), locale)


def score(texts: Sequence[Labelled], find: Callable[[str], Sequence[Found]]) -> Score:
    """Hold what is found against what was planted."""
    planted: Counter[tuple[Kind, str]] = Counter()
    found: Counter[tuple[Kind, str]] = Counter()
    false: Counter[tuple[Kind, str]] = Counter()
    for each in texts:
        findings = find(each.text)
        for item in each.planted:
            planted[item.kind, each.locale] += 1
            found[item.kind, each.locale] += any(_covers(finding, item) for finding in findings)
        for finding in findings:
            false[finding.kind, each.locale] += not any(_touch(finding, item) for item in each.planted)
    return Score(planted, found, false, sum(each.num_lookalikes for each in texts))


def misses(texts: Sequence[Labelled], find: Callable[[str], Sequence[Found]]) -> Iterator[tuple[str, str]]:
    """Yield what a search does wrong: in which way, and the place in the text."""
    for each in texts:
        findings = find(each.text)
        for item in each.planted:
            if not any(_covers(finding, item) for finding in findings):
                yield f"missed {item.kind} {each.locale}", each.text[max(0, item.start - 30) : item.stop + 15]
        for finding in findings:
            if not any(_touch(finding, item) for item in each.planted):
                yield f"false {finding.kind} {each.locale}", each.text[max(0, finding.start - 30) : finding.stop + 15]


def _covers(finding: Found, item: Found) -> bool:
    return finding.kind is item.kind and finding.start <= item.start and item.stop <= finding.stop


def _touch(finding: Found, item: Found) -> bool:
    return finding.start < item.stop and item.start < finding.stop


def _labelled(random: Random, locale: str) -> Labelled:
    text, planted = "", []
    kinds = list(MAKERS)
    random.shuffle(kinds)
    for kind in kinds:
        text += " ".join(random.choices(phrases.PROSE[locale], k=_PROSE_SENTENCES)) + "\n"
        text += random.choice(LOOKALIKES)(random, locale) + random.choice((". ", "\n", ", ")) + "\n"
        made = MAKERS[kind](random, locale)
        before, item = made if isinstance(made, tuple) else ("", made)
        frame = _frame(random, kind, locale)
        head = f"{text}{frame.partition('{}')[0]}{before}"
        planted.append(Found(kind, len(head), len(head) + len(item)))
        after = "@db.example.org/app" if before.startswith("postgres") else '"' if before.endswith('"') else ""
        text = f"{head}{item}{after}{frame.partition('{}')[2]}\n"
    return Labelled(locale, text, tuple(planted), len(kinds))


def _frame(random: Random, kind: Kind, locale: str) -> str:
    special = {Kind.PHONE: phrases.PHONE, Kind.BIRTH_DATE: phrases.BIRTH_DATE}
    return random.choice(special.get(kind, phrases.ANY)[locale])
