"""Personal data and secrets: what the search finds and what it takes for one, by kind and locale, and how fast it is.

The labelled text is synthetic and made by this repository (`tests/pipelines/corpus/labelled`), with a fixed seed: the
table says how the search does on that text, and nothing about documents that are written otherwise.
"""

import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import distributions
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "pipelines" / "corpus"))

from labelled.phrases import LOCALES, PROSE
from labelled.texts import Score, labelled_texts, score

from forge_pipelines.corpus.personal.config import PersonalDataConfig
from forge_pipelines.corpus.personal.findings import Found, Kind
from forge_pipelines.corpus.personal.search import PersonalDataSearch

SEED = 20_260
NUM_EACH = 300
ROUNDS = 3
PROSE_BYTES = 10_000_000
HOSTILE_CHARACTERS = 50_000_000
HOSTILE = ("a", "A", "1", "@", "-", ":", " ", "=")


def table(held: Score) -> None:
    print(f"\n{'kind':<12}" + "".join(f"{locale:>15}" for locale in LOCALES) + f"{'all':>15}")
    for kind in Kind:
        cells = [_cell(held, kind, [locale]) for locale in LOCALES]
        if any(held.planted.get((kind, locale)) for locale in LOCALES):
            print(f"{kind.value:<12}" + "".join(f"{cell:>15}" for cell in [*cells, _cell(held, kind, LOCALES)]))


def _cell(held: Score, kind: Kind, locales: Sequence[str]) -> str:
    planted = sum(held.planted.get((kind, locale), 0) for locale in locales)
    found = sum(held.found.get((kind, locale), 0) for locale in locales)
    false = sum(held.false.get((kind, locale), 0) for locale in locales)
    return f"{found / planted:.3f}, {false}" if planted else ""


def speed(what: str, texts: Sequence[str], find: Callable[[str], Sequence[Found]]) -> None:
    num_bytes = sum(len(text.encode()) for text in texts)
    rates, found = [], Counter[str]()
    for _ in range(ROUNDS):
        started = time.process_time()
        found = Counter(finding.kind.value for text in texts for finding in find(text))
        rates.append(num_bytes / 1e6 / (time.process_time() - started))
    print(
        f"  {what}: {num_bytes / 1e6:.1f} MB in {len(texts):,} texts, {statistics.median(rates):.1f} MB/s "
        f"({min(rates):.1f}–{max(rates):.1f}); found: {dict(found) or 'nothing'}",
        flush=True,
    )


def prose() -> list[str]:
    """Return plain prose of the six locales, about 3 KB a text."""
    paragraphs = ["\n".join(sentences) for sentences in PROSE.values()]
    size = sum(len(paragraph.encode()) for paragraph in paragraphs)
    return ["\n\n".join(paragraphs)] * (PROSE_BYTES // size)


def installed_texts() -> list[str]:
    """Return the descriptions of the packages that are installed here: real English prose, with code and addresses."""
    texts = (distribution.metadata.get_payload() or "" for distribution in distributions())
    return [text for text in texts if isinstance(text, str) and len(text) > 500]


def hostile(find: Callable[[str], Sequence[Found]]) -> None:
    for character in HOSTILE:
        started = time.process_time()
        found = find(character * HOSTILE_CHARACTERS)
        print(f"  {character!r}: {time.process_time() - started:.1f} s, {len(found)} found", flush=True)


if __name__ == "__main__":
    search = PersonalDataSearch(PersonalDataConfig())
    texts = list(labelled_texts(SEED, NUM_EACH))
    result = score(texts, search.find)
    false, num_lookalikes = sum(result.false.values()), result.num_lookalikes
    print(f"{len(texts):,} synthetic texts, seed {SEED}: {sum(result.planted.values()):,} items")
    print(f"{num_lookalikes:,} look-alikes, {false} false positives ({false / num_lookalikes:.2%})")
    print("each cell: recall (a finding of the kind covers the item), findings of the kind that touch no item")
    table(result)
    print(f"\nspeed, one core, all kinds (median of {ROUNDS}; load {os.getloadavg()[0]:.1f} before)")
    speed("prose without findings", prose(), search.find)
    speed("descriptions of installed packages", installed_texts(), search.find)
    speed("the labelled texts", [each.text for each in texts], search.find)
    print(f"\n{HOSTILE_CHARACTERS:,} of one character")
    hostile(search.find)
