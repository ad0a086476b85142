"""What became of what was planted, by kind: caught by what is there for it, gone by another rule, or missed."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from near_copies.documents import jaccard
from planted.kinds import COPY, NEAR, PLACEHOLDER, SAME_PART, Planted

from forge_pipelines.corpus.split import Part
from forge_pipelines.manifest import Rejection

_PIECE_CHARACTERS = 6
_SHOWN_CHARACTERS = 90
_PLACEHOLDER = re.compile(r"<(?:PRIVATE_KEY|JWT|API_KEY|IBAN|CARD|NATIONAL_ID|EMAIL|IP|BIRTH_DATE|PHONE|NAME)>")


@dataclass(frozen=True, slots=True)
class Corpus:
    """What came out: part and text of what is kept, and what rejected the others, by path."""

    kept: Mapping[str, tuple[Part, str]]
    rejected: Mapping[str, Rejection]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a planted document.

    Attributes:
        by: what caught it; None if it was missed.
        of_original: whether it was its original that was rejected.
        became: what became of it if it was missed.
    """

    by: str | None
    of_original: bool = False
    became: str = ""


def judge(planted: Planted, corpus: Corpus) -> Outcome:
    """Tell what became of a planted document. A rejected one, or one whose original is rejected, does no harm."""
    if planted.path in corpus.rejected:
        return Outcome(corpus.rejected[planted.path].rule)
    if planted.original is not None:
        return _judge_copy(planted, planted.original, corpus)
    part, text = corpus.kept[planted.path]
    if planted.item is None:
        return Outcome(None, became=f"in {part} ({planted.path})")
    return _judge_item(planted, planted.item, part, text)


def table(planted: Sequence[Planted], corpus: Corpus) -> Iterator[str]:
    """Yield the lines of the table: a row for each kind, and under it what became of those that were missed."""
    yield f"{'kind':<42}{'planted':>8}{'caught':>8}{'gone':>8}{'missed':>8}   by"
    by_kind: dict[str, list[tuple[Planted, Outcome]]] = {}
    for each in planted:
        by_kind.setdefault(each.kind, []).append((each, judge(each, corpus)))
    for kind, judged in by_kind.items():
        caught = Counter(_written(outcome) for each, outcome in judged if outcome.by in each.rules)
        gone = Counter(_written(outcome) for each, outcome in judged if outcome.by and outcome.by not in each.rules)
        missed = [outcome.became for _, outcome in judged if outcome.by is None]
        counts = "".join(f"{number:>8}" for number in (len(judged), caught.total(), gone.total(), len(missed)))
        yield f"{kind:<42}{counts}   {_counted(caught)}" + (f"; gone by {_counted(gone)}" if gone else "")
        for became, number in Counter(each.partition(" (")[0] for each in missed).most_common():
            example = next(each for each in missed if each.startswith(became))
            yield f"      missed: {number} {became}, for example {example.removeprefix(became).strip()}"


def _written(outcome: Outcome) -> str:
    return f"{outcome.by} of the original" if outcome.of_original else str(outcome.by)


def _counted(rules: Counter[str]) -> str:
    return ", ".join(f"{rule} {number}" for rule, number in rules.most_common())


def _judge_copy(planted: Planted, original: str, corpus: Corpus) -> Outcome:
    if original in corpus.rejected:
        return Outcome(corpus.rejected[original].rule, of_original=True)
    (part, text), (other_part, other) = corpus.kept[planted.path], corpus.kept[original]
    if planted.jaccard < COPY and part == other_part and planted.jaccard >= NEAR:
        return Outcome(SAME_PART)
    where = "both in one part" if part == other_part else "one in train, one held out"
    return Outcome(None, became=f"{where} (planted at {planted.jaccard:.2f}, cleaned {jaccard(text, other):.2f})")


def _judge_item(planted: Planted, item: str, part: Part, text: str) -> Outcome:
    held = item in text
    left = _left(item, planted.around, _PLACEHOLDER.sub("\n", text))
    if not held and not left:
        return Outcome(PLACEHOLDER if _placeholders(text) > _placeholders(planted.around) else "its line left out")
    place = text.find(item) if held else text.find(left[0])
    shown = " ".join(text[max(0, place - _SHOWN_CHARACTERS // 2) :][:_SHOWN_CHARACTERS].split())
    return Outcome(None, became=f"{'whole' if held else 'in part'} in {part} («{shown}»)")


def _left(item: str, around: str, text: str) -> list[str]:
    """Return the pieces of an item that stand in a text, and not because they stand around the item."""
    pieces = {item[start : start + _PIECE_CHARACTERS] for start in range(max(1, len(item) - _PIECE_CHARACTERS + 1))}
    return [piece for piece in pieces if "\n" not in piece and piece in text and piece not in around]


def _placeholders(text: str) -> int:
    return len(_PLACEHOLDER.findall(text))
