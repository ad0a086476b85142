"""How many of the evaluation items that stand in documents are found: measured, by planting them there."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from forge_pipelines.corpus.decontamination import EvaluationItems, drop_contaminated
from forge_pipelines.manifest import Document, Segment

_EDITED_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Recall:
    """How many items were planted in one way, and how many of them found."""

    kind: str
    planted: int
    found: int

    @property
    def share(self) -> float:
        """The share that was found."""
        return self.found / self.planted if self.planted else 0.0


def measure_recall(items: EvaluationItems, hosts: Sequence[Document], seed: int = 0) -> tuple[Recall, ...]:
    """Plant each item that is looked for in the middle of a document, and count what is found.

    Items are planted as they are, in capitals, and with 10 % of their words (rounded up, drawn by the seed) replaced by
    words of other items.

    Args:
        items: the items.
        hosts: at least one document that holds none of them; those that do are left out.
        seed: of what is drawn.
    """
    drawn = random.Random(seed)
    clean = drop_contaminated(hosts, items).kept
    recalls = []
    for kind, change in ways_of_planting(items, drawn).items():
        planted = [
            _planted(drawn.choice(clean), change(item.text), f"{kind} {number}")
            for number, item in enumerate(items.looked_for)
        ]
        recalls.append(Recall(kind, len(planted), len(drop_contaminated(planted, items).rejected)))
    return tuple(recalls)


def ways_of_planting(items: EvaluationItems, drawn: random.Random) -> Mapping[str, Callable[[str], str]]:
    """Return how an item's text is changed before it is planted, by what that is called."""
    vocabulary = sorted({word for item in items.items for word in item.text.split()})

    def edited(text: str) -> str:
        words = text.split()
        for place in drawn.sample(range(len(words)), ceil(_EDITED_SHARE * len(words))):
            words[place] = drawn.choice(vocabulary)
        return " ".join(words)

    return {"verbatim": str, "re-cased": str.upper, "10 % edited": edited}


def in_the_middle(host: str, text: str) -> str:
    """Return a host with a text between its words."""
    words = host.split(" ")
    middle = len(words) // 2
    return " ".join([*words[:middle], text, *words[middle:]])


def _planted(host: Document, text: str, uri: str) -> Document:
    return replace(host, uri=uri, segments=(Segment("text", in_the_middle(host.text, text)),))
