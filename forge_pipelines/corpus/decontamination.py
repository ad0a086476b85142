"""Documents that hold items of evaluation sets: Brown et al. 2020, «Language Models are Few-Shot Learners», appendix C.

As there, a gram is a run of 13 words in small letters, without punctuation, and items that are shorter match whole, but
not below 8 words: shorter ones are found by chance. Han and kana, which have no spaces, count a word a character.

Held-out documents are long, and share licences and phrases with many others. Of them, runs that stand in several are
not looked for (Brown et al. ignore what matches more than ten documents), and a document holds one of them when half of
its other words stand there, as with Lambert et al. 2024, «Tülu 3», section 3.2.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from forge_pipelines.corpus.evaluation_sets import Item, read_items
from forge_pipelines.corpus.evaluation_sets_config import OF_FILES, EvaluationSet, Tolerance
from forge_pipelines.corpus.shared_runs import Runs, bare_words, runs_of
from forge_pipelines.corpus.steps import Outcome, reject
from forge_pipelines.corpus.words import Flags, Hashes, Numbers, Words, gram_hashes, slices
from forge_pipelines.manifest import Document, Name, Rejection, Value

RULE = "contaminated"

_EXCERPT_CHARACTERS = 100
_PIECE_CHARACTERS = 1 << 20
_OVERLAP_CHARACTERS = 4096  # a run of words that is longer than this is not seen where a document is cut
_FILTER_BITS = 22


class Decontamination(Value):
    """Which evaluation sets a corpus must not hold."""

    evaluation_sets: tuple[EvaluationSet, ...] = Field(
        min_length=1, description="The sets: `{name, path}` of files, or `{corpus}` for what another corpus holds out."
    )
    words: int = Field(13, ge=4, le=50, description="Words that document and item must share, one after another.")
    min_words: int = Field(8, ge=1, description="Items with fewer words than this are not looked for.")

    @field_validator("evaluation_sets")
    @classmethod
    def _each_once(cls, sets: tuple[EvaluationSet, ...]) -> tuple[EvaluationSet, ...]:
        titles = [each.title for each in sets]
        if len(set(titles)) < len(titles):
            raise ValueError(f"an evaluation set is named twice in {', '.join(titles)}")
        return sets

    @property
    def corpora(self) -> tuple[Name, ...]:
        """The corpora whose held-out documents are evaluation sets."""
        return tuple(each.corpus for each in self.evaluation_sets if each.corpus is not None)

    def items(self, held_out: Mapping[Name, Path]) -> "EvaluationItems":
        """Read the items of all sets, ready to be found.

        Args:
            held_out: the local folder of each of `corpora`.

        Raises:
            ConfigError, DataError: see `read_items`.
        """
        tolerances = {each.title: each.tolerance for each in self.evaluation_sets}
        return EvaluationItems(read_items(self.evaluation_sets, held_out), self.words, self.min_words, tolerances)


@dataclass(frozen=True, slots=True)
class Hit:
    """Where a document holds an item: what stands there in each, in at most 100 characters.

    Attributes:
        share: of the item's words, how many stand in shared runs; None where one run is enough.
    """

    item: Item
    document_excerpt: str
    item_excerpt: str
    share: float | None

    @property
    def reason(self) -> str:
        """Both excerpts, which item it is, and how much of it."""
        where = f"«{self.document_excerpt}» stands in evaluation set {self.item.set}, item {self.item.place}, as "
        much = "" if self.share is None else f", and so do {self.share:.0%} of the item's words"
        return f"{where}«{self.item_excerpt}»{much}"


class EvaluationItems:
    """The items of evaluation sets, ready to be found in documents. Memory: 32 bytes a word of theirs, and 4 MiB.

    Attributes:
        items: all items.
        looked_for: those that are long enough to be looked for, and hold more than common text.
    """

    def __init__(
        self,
        items: Iterable[Item],
        words: int = 13,
        min_words: int = 8,
        tolerances: Mapping[Name, Tolerance] | None = None,
    ) -> None:
        """Index items by runs of so many words; an item with fewer, but `min_words` at least, as a whole.

        Args:
            items: those of a set one after another.
            words: of a run.
            min_words: items with fewer are left out.
            tolerances: what of a set's items a document may hold, by the set's name; by default nothing.
        """
        self.items = tuple(items)
        names = {name: number for number, name in enumerate(dict.fromkeys(item.set for item in self.items))}
        allowed = [(tolerances or {}).get(name, OF_FILES) for name in names]
        sets = np.array([names[item.set] for item in self.items], np.intp)
        most = np.array([np.inf if each.max_items is None else each.max_items for each in allowed])
        self._runs = list(runs_of([item.text for item in self.items], words, min_words, sets, most))
        self._min_share = np.array([each.min_share for each in allowed])[sets] if names else np.zeros(0)
        self._num_words = np.zeros(len(self.items))
        self._filter = np.zeros(1 << _FILTER_BITS, np.bool_)
        for runs in self._runs:
            item, num_words = runs.num_words(np.arange(len(runs.item)))
            self._num_words[item] = num_words
            self._filter[_filter_place(runs.hashes)] = True
        self.looked_for = tuple(self.items[number] for number in np.flatnonzero(self._num_words))

    def find(self, texts: Sequence[str]) -> Iterator[Hit | None]:
        """Yield the first item that each text holds, if it holds one."""
        shared: dict[int, list[tuple[Runs, Numbers]]] = {}
        pieces = [(number, piece) for number, text in enumerate(texts) for piece in _pieces(text)]
        for part in slices([piece for _, piece in pieces]):
            numbers, those = zip(*pieces[part], strict=True)
            words = bare_words(those)
            for runs, places, kinds in self._matches(words):
                matched = np.array(numbers)[words.text[places]]
                for number in np.unique(matched).tolist():
                    shared.setdefault(number, []).append((runs, np.unique(kinds[matched == number])))
        for number, text in enumerate(texts):
            held = self._held(shared.get(number, ()))
            yield self._first_hit(text, held) if held else None

    def _matches(self, words: Words) -> Iterator[tuple[Runs, Numbers, Numbers]]:
        """Yield for each size of runs the words at which one begins that stands in an item too, and its kind."""
        by_size = {runs.size: runs for runs in self._runs}
        for size, hashes in gram_hashes(words.hashes, by_size.keys()):
            places = np.flatnonzero(self._filter[_filter_place(hashes)])
            places = places[words.text[places] == words.text[places + size - 1]]
            known = by_size[size].hashes
            kinds = np.minimum(np.searchsorted(known, hashes[places]), len(known) - 1)
            equal: Flags = known[kinds] == hashes[places]
            yield by_size[size], places[equal], kinds[equal]

    def _held(self, shared: Sequence[tuple[Runs, Numbers]]) -> Mapping[int, float]:
        """Return the items of which a text shares enough, and which share of their words."""
        held: dict[int, float] = {}
        for runs in self._runs if shared else ():
            kinds = [those for of_size, those in shared if of_size is runs]
            if kinds:
                item, num_words = runs.num_words(runs.of_kinds(np.unique(np.concatenate(kinds))))
                shares = num_words / self._num_words[item]
                enough = shares >= self._min_share[item]
                held.update(zip(item[enough].tolist(), shares[enough].tolist(), strict=True))
        return held

    def _first_hit(self, text: str, held: Mapping[int, float]) -> Hit | None:
        """Return the first place of a text at which one of some items stands; the words themselves are compared."""
        for piece in _pieces(text):
            words = bare_words([piece])
            for place, size, number, start in self._places(words, held):
                item = self.items[number]
                item_words = bare_words([item.text])
                if _strings(words, place, size) == _strings(item_words, start, size):
                    share = held[number] if self._min_share[number] else None
                    excerpts = _excerpt(words, place, size, piece), _excerpt(item_words, start, size, item.text)
                    return Hit(item, *excerpts, share)
        return None

    def _places(self, words: Words, held: Collection[int]) -> Iterator[tuple[int, int, int, int]]:
        """Yield the word, the size, the item and the item's word of each run that stands in some items, in order."""
        matches = [
            (place, runs.size, kind, runs)
            for runs, places, kinds in self._matches(words)
            for place, kind in zip(places.tolist(), kinds.tolist(), strict=True)
        ]
        for place, size, kind, runs in sorted(matches, key=lambda match: match[:2]):
            for run in range(runs.bounds[kind], runs.bounds[kind + 1]):
                number = int(runs.item[run])
                if number in held:
                    yield place, size, number, int(runs.word[run])


def drop_contaminated(documents: Sequence[Document], items: EvaluationItems) -> Outcome:
    """Reject documents that hold an item, with both excerpts. Takes time linear in the text."""
    kept: list[Document] = []
    rejected: list[Rejection] = []
    hits = items.find([document.text for document in documents])
    for document, hit in zip(documents, hits, strict=True):
        if hit is None:
            kept.append(document)
        else:
            rejected.append(reject(document, RULE, hit.reason))
    return Outcome(kept, rejected)


def _filter_place(hashes: Hashes) -> Hashes:
    places: npt.NDArray[np.uint64] = hashes >> np.uint64(64 - _FILTER_BITS)
    return places


def _pieces(text: str) -> Iterator[str]:
    """Cut a long text into pieces that overlap, so that memory is bounded."""
    step = _PIECE_CHARACTERS - _OVERLAP_CHARACTERS
    for start in range(0, max(len(text) - _OVERLAP_CHARACTERS, 1), step):
        yield text[start : start + _PIECE_CHARACTERS] if len(text) > _PIECE_CHARACTERS else text


def _strings(words: Words, first: int, size: int) -> list[str]:
    return [words.string(word) for word in range(first, first + size)]


def _excerpt(words: Words, first: int, size: int, text: str) -> str:
    """Return the words as their text writes them; in small letters where these are not as many as the text's."""
    folded = text.casefold()
    text = text if len(text) == len(folded) else folded
    assert words.positions is not None, "bare words know their positions"
    start, end = words.positions[words.starts[first]], words.positions[words.ends[first + size - 1] - 1] + 1
    excerpt = " ".join(text[start:end].split())
    return excerpt if len(excerpt) <= _EXCERPT_CHARACTERS else f"{excerpt[: _EXCERPT_CHARACTERS - 1]}…"
