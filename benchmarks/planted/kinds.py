"""What is planted: copies, translations, secrets and personal data, evaluation items, and what no corpus may take.

All of it is drawn with a fixed seed. Copies are planted beside their originals; everything else stands in hosts, which
are real texts that the corpus does not hold.
"""

import random
import textwrap
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle, islice, product
from pathlib import Path

from labelled.phrases import ANY
from labelled.texts import Labelled, labelled_texts
from near_copies.documents import jaccard
from planted.debian import faq_paragraphs, is_translated, pages
from planted.estate import FORBIDDEN, HOST_LANGUAGES, Estate, page_path, page_text
from planting import in_the_middle, ways_of_planting

from forge_pipelines.corpus.decontamination import EvaluationItems
from forge_pipelines.corpus.evaluation_sets import Item
from forge_pipelines.corpus.personal.findings import Found, Kind

COPY, NEAR = 0.8, 0.5
"""From which similarity on a copy is removed, and from which on it shares its original's part of the split."""

SEED = 20_261
SHARE_TOLERANCE = 0.03
SET = "faq"
ITEM_WORDS = (13, 120)
NAMES = ("Ottilie Brandwein", "Perpetua Ashgrove", "Côme Villedieu", "Rosalba Tramontin", "Íñigo Larrañaga")
DRAFT = "DRAFT, not for release."

SAME_PART, PLACEHOLDER = "the same part of the split", "placeholder"
"""What else than a rule may catch what is planted."""

_FOR_COPIES = ("duplicate", "near_duplicate", "near_both_parts", SAME_PART)
_STEPS = ((0.5, 0.65), (0.65, 0.8), (0.8, 0.9), (0.9, 1.0))
_LENGTHS = ((13, 25), (26, 50), (51, 120))
_REFUSED = {"expired": "expiry", "forbidden licence": "licence", "forbidden purpose": "purpose"}


@dataclass(frozen=True, slots=True)
class Planted:
    """One document that was planted.

    Attributes:
        kind: what it is; a row of the table.
        rules: what is there to catch it.
        original: the path of the document that it is a copy of, and `jaccard`, how alike they are.
        item: what must not stand in the corpus, and `around`, all other text of the document.
    """

    kind: str
    path: str
    text: str
    rules: tuple[str, ...]
    original: str | None = None
    jaccard: float = 1.0
    item: str | None = None
    around: str = ""


def plant(estate: Estate, each: int, dice: random.Random) -> list[Planted]:
    """Return what is planted, about so many documents of each kind."""
    hosts = {language: iter(texts) for language, texts in estate.hosts.items()}
    return [
        *_copies(estate, each, dice),
        *_near_copies(estate),
        *_translated(estate, each, dice),
        *_personal(hosts, each // 10),
        *_names(hosts, each // 2, dice),
        *_contaminated(hosts, evaluation_items(each * 3 // 2), dice),
        *_refused(hosts, each // 2),
    ]


def evaluation_items(number: int) -> EvaluationItems:
    """Return so many paragraphs of the FAQ as items, of rising length."""
    texts = [text for text in faq_paragraphs() if ITEM_WORDS[0] <= len(text.split()) <= ITEM_WORDS[1]]
    drawn = sorted(random.Random(SEED).sample(texts, number), key=len)
    return EvaluationItems([Item(SET, f"{SET}.jsonl:{place}", text) for place, text in enumerate(drawn, 1)])


def _copies(estate: Estate, each: int, dice: random.Random) -> Iterator[Planted]:
    sound = dice.sample(sorted(estate.sound), len(estate.sound))
    prose = iter([path for path in sound if not path.endswith(".py") and "guide" not in path])
    pages = iter([path for path in sound if "guide-pt" in path or "guide-sv" in path])
    kinds: list[tuple[str, Iterator[str], int, Callable[[str], str]]] = [
        ("exact copy", iter(sound), each, str),
        ("copy, other blanks and line ends", prose, each, _other_blanks),
        ("copy, lines broken elsewhere", prose, each, _broken_elsewhere),
        ("copy, decomposed (NFD)", pages, each // 2, lambda text: unicodedata.normalize("NFD", text)),
        ("copy, mojibake", pages, each // 2, _mojibake),
    ]
    for kind, originals, number, change in kinds:
        for place, original in enumerate(islice(originals, number)):
            text = change(estate.documents[original])
            yield Planted(kind, _path(kind, place, Path(original).suffix), text, _FOR_COPIES, original=original)


def _other_blanks(text: str) -> str:
    lines = (line + " \t" * (number % 3) for number, line in enumerate(text.split("\n")))
    return "\ufeff" + "\r\n".join(lines) + "\r\n\r\n"


def _broken_elsewhere(text: str) -> str:
    return "\n\n".join(textwrap.fill(paragraph, 58) for paragraph in text.split("\n\n"))


def _mojibake(text: str) -> str:
    """Return what becomes of UTF-8 that is read as Windows-1252, or as Latin-1 where it cannot be that."""
    content = text.encode()
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _near_copies(estate: Estate) -> Iterator[Planted]:
    for least, below in _STEPS:
        kind = f"near-copy, Jaccard {least:g} to {below:g}"
        for place, each in enumerate(estate.near_copies):
            if each.jaccard is not None and least <= each.jaccard < below:
                path = _path(kind, place, Path(each.original or "").suffix)
                yield Planted(kind, path, each.text, _FOR_COPIES, original=each.original, jaccard=each.jaccard)


def _translated(estate: Estate, each: int, dice: random.Random) -> Iterator[Planted]:
    """Yield pages of the guide whose last half, or last quarter, is that of another language's page."""
    for kind, share in (("half-translated copy", 0.5), ("quarter-translated copy", 0.25)):
        pairs = list(product(pages("en"), HOST_LANGUAGES))
        found = filter(None, (_mixed(estate, *pair, share) for pair in dice.sample(pairs, len(pairs))))
        for place, (original, text) in enumerate(islice(found, each)):
            alike = jaccard(estate.documents[original], text)
            yield Planted(kind, _path(kind, place, ".txt"), text, _FOR_COPIES, original=original, jaccard=alike)


def _mixed(estate: Estate, name: str, language: str, share: float) -> tuple[str, str] | None:
    english, other = pages("en")[name], pages(language)[name]
    path = page_path("en", name)
    if not is_translated(name, language) or path not in estate.sound:
        return None
    total = sum(map(len, english))
    shares = [sum(map(len, english[begin:])) / total for begin in range(len(english))]
    begin = min(range(len(english)), key=lambda place: abs(shares[place] - share))
    if abs(shares[begin] - share) > SHARE_TOLERANCE:
        return None
    return path, page_text([*english[:begin], *other[begin:]])


def _personal(hosts: Mapping[str, Iterator[str]], each: int) -> Iterator[Planted]:
    """Yield an item of each kind and locale in a text of its language; every second one of en_US in Python."""
    in_code = cycle((False, True))
    for number, labelled in enumerate(labelled_texts(SEED, each)):
        for item in labelled.planted:
            is_code = labelled.locale == "en_US" and next(in_code)
            host = next(hosts["code" if is_code else labelled.locale[:2]])
            lines = _lines_around(labelled, item)
            text = _with_comment(host, lines) if is_code else _with_paragraph(host, lines)
            kind, said = item.kind.value, labelled.text[item.start : item.stop]
            path = _path(f"{kind} {labelled.locale}", number, ".py" if is_code else ".txt")
            yield Planted(kind, path, text, (PLACEHOLDER,), item=said, around=host + lines.replace(said, "\n"))


def _lines_around(labelled: Labelled, item: Found) -> str:
    """Return an item with its line, the one before and the one after."""
    before = labelled.text.rfind("\n", 0, max(0, labelled.text.rfind("\n", 0, item.start)))
    after = labelled.text.find("\n", labelled.text.find("\n", item.stop) + 1)
    return labelled.text[before + 1 : after if after >= 0 else None]


def _with_paragraph(host: str, text: str) -> str:
    paragraphs = host.split("\n\n")
    middle = len(paragraphs) // 2
    return "\n\n".join([*paragraphs[:middle], text, *paragraphs[middle:]])


def _with_comment(host: str, text: str) -> str:
    lines = host.split("\n")
    middle = len(lines) // 2
    return "\n".join([*lines[:middle], *(f"# {line}" for line in text.split("\n")), *lines[middle:]])


def _names(hosts: Mapping[str, Iterator[str]], number: int, dice: random.Random) -> Iterator[Planted]:
    for place, host in enumerate(islice(hosts["en"], number)):
        name = dice.choice(NAMES)
        text = _with_paragraph(host, dice.choice(ANY["en_US"][:2]).format(name))
        yield Planted(Kind.NAME.value, _path("name", place, ".txt"), text, (PLACEHOLDER,), item=name, around=host)


def _contaminated(hosts: Mapping[str, Iterator[str]], items: EvaluationItems, dice: random.Random) -> Iterator[Planted]:
    for way, change in ways_of_planting(items, dice).items():
        for place, item in enumerate(items.looked_for):
            least, most = next(bounds for bounds in _LENGTHS if len(item.text.split()) <= bounds[1])
            kind = f"evaluation item, {way}" + (f", {least}–{most} words" if "edited" in way else "")
            host, said = next(hosts["en"]), change(item.text)
            text = in_the_middle(host, said)
            yield Planted(kind, _path(kind, place, ".txt"), text, ("contaminated",), item=said, around=host)


def _refused(hosts: Mapping[str, Iterator[str]], number: int) -> Iterator[Planted]:
    for kind, rule in _REFUSED.items():
        for place, host in enumerate(islice(hosts["en"], number)):
            yield Planted(kind, _path(kind, place, ".txt"), host, (rule,))
    for place, host in enumerate(islice(hosts["en"], number)):
        yield Planted(
            "draft, own rule", _path("draft", place, ".txt"), f"{DRAFT} {host}", ("corpus_samples:no_drafts",)
        )
    foreign = [pages(language)[name] for language in FORBIDDEN for name in pages("en") if is_translated(name, language)]
    long = [page for page in foreign if len(page_text(page)) >= 1000]
    for place, page in enumerate(long[:: len(long) // number][:number]):
        yield Planted("forbidden language", _path("foreign", place, ".txt"), page_text(page), ("language",))


def _path(kind: str, place: int, suffix: str) -> str:
    folder = "".join(character if character.isalnum() else "_" for character in kind)
    return f"planted/{folder}/{place:04}{suffix}"
