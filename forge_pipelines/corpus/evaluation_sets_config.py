"""What a corpus's YAML may say of an evaluation set, and which corpora may name which."""

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pydantic import Field, model_validator

from forge_pipelines.errors import ConfigError
from forge_pipelines.manifest import Name, Value

_COLUMN = "text"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What of a set's items a document may hold.

    Attributes:
        min_share: share of an item's words that stand in shared runs when a document holds it; 0: one run is enough.
        max_items: runs that stand in more items of the set than this are not looked for; None: all are.
    """

    min_share: float = 0.0
    max_items: int | None = None


OF_FILES = Tolerance()
"""For files of questions: whatever stands in one is the test itself."""

OF_DOCUMENTS = Tolerance(min_share=0.5, max_items=3)
"""For documents, which are long and quote what others quote, too."""


class EvaluationSet(Value):
    """One evaluation set: files of items, or the documents that another corpus holds out."""

    name: Name | None = Field(
        None, description="The name of a set of files, as rejections write it; a corpus has its own."
    )
    path: str | None = Field(
        None,
        min_length=1,
        description="A JSONL file (an item a line), a text file (an item a paragraph), or a folder of these. Relative "
        "paths start at the folder in which Forge was started.",
    )
    column: str = Field(_COLUMN, description="The field of a JSONL record that holds the item: text, or a list of it.")
    corpus: Name | None = Field(
        None, description="Instead of `name` and `path`: a corpus, each of whose held-out documents is an item."
    )
    min_share: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of an item's words that a document must hold, in runs, to be rejected; 0: one run is "
        f"enough. Default: {OF_FILES.min_share:g} for files, {OF_DOCUMENTS.min_share:g} for a corpus.",
    )
    max_items: int | None = Field(
        None,
        ge=1,
        description="Runs that stand in more items of the set than this are common text, such as licences, and not "
        f"looked for. Default: for files no number, {OF_DOCUMENTS.max_items} for a corpus.",
    )

    @model_validator(mode="after")
    def _files_or_corpus(self) -> "EvaluationSet":
        either = "an evaluation set has either `name` and `path`, or `corpus`"
        if (self.path is None) == (self.corpus is None):
            raise ValueError(f"{either}; this one has {'both' if self.path else 'neither'}")
        if self.corpus is None and self.name is None:
            raise ValueError(f"{either}; give the one at {self.path} a name")
        if self.corpus is not None and (self.name is not None or self.column != _COLUMN):
            raise ValueError(f"{either}; a corpus has a name of its own and no columns, so leave {self.corpus} alone")
        return self

    @property
    def title(self) -> Name:
        """What rejections call it."""
        title = self.name or self.corpus
        assert title is not None, "a set has one of the two"
        return title

    @property
    def tolerance(self) -> Tolerance:
        """What of its items a document may hold."""
        usual = OF_FILES if self.corpus is None else OF_DOCUMENTS
        return Tolerance(
            usual.min_share if self.min_share is None else self.min_share,
            usual.max_items if self.max_items is None else self.max_items,
        )


def check_rings(corpus: Name, named: Mapping[Name, Collection[Name]]) -> None:
    """Check that a corpus waits for no corpus that waits for it; cheap, done when the YAML loads.

    Args:
        corpus: the one whose YAML loads.
        named: for each corpus, those whose held-out documents are its evaluation sets.

    Raises:
        ConfigError: it waits for itself; the message names the shortest ring.
    """
    ways: deque[tuple[Name, ...]] = deque([(corpus,)])
    seen: set[Name] = set()
    while ways:
        way = ways.popleft()
        for following in named.get(way[-1], ()):
            if following == corpus:
                raise ConfigError(_ring(way))
            if following not in seen:
                seen.add(following)
                ways.append((*way, following))


def _ring(way: tuple[Name, ...]) -> str:
    if len(way) == 1:
        return (
            f"corpus {way[0]} names itself under decontamination.evaluation_sets; remove `- {{corpus: {way[0]}}}`: its "
            "split keeps held-out documents, and what is like them, out of training already"
        )
    first = way.index(min(way))
    ring = " → ".join((*way[first:], *way[:first], way[first]))
    return (
        f"the corpora {ring} name each other's held-out documents under decontamination.evaluation_sets, so that none "
        "can be made first; remove one of these names, and measure no model of that corpus on what it named"
    )
