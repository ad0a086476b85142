"""Documents that hold items of evaluation sets: Brown et al. 2020, «Language Models are Few-Shot Learners», appendix C.

As there, a gram is a run of 13 words in small letters, without punctuation, and items that are shorter match whole, but
not below 8 words: shorter ones are found by chance. Han and kana, which have no spaces, count a word a character.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from forge_pipelines.corpus.evaluation_sets import EvaluationSet, Item
from forge_pipelines.corpus.steps import Outcome, reject
from forge_pipelines.corpus.words import Flags, Hashes, Numbers, Words, gram_hashes, slices, words_of
from forge_pipelines.manifest import Document, Rejection, Value

RULE = "contaminated"

_EXCERPT_CHARACTERS = 100
_PIECE_CHARACTERS = 1 << 20
_OVERLAP_CHARACTERS = 4096  # a run of words that is longer than this is not seen where a document is cut
_FILTER_BITS = 22


class Decontamination(Value):
    """Which evaluation sets a corpus must not hold."""

    evaluation_sets: tuple[EvaluationSet, ...] = Field(min_length=1, description="The sets.")
    words: int = Field(13, ge=4, le=50, description="Words that document and item must share, one after another.")
    min_words: int = Field(8, ge=1, description="Items with fewer words than this are not looked for.")

    @field_validator("evaluation_sets")
    @classmethod
    def _each_once(cls, sets: tuple[EvaluationSet, ...]) -> tuple[EvaluationSet, ...]:
        names = [each.name for each in sets]
        if len(set(names)) < len(names):
            raise ValueError(f"an evaluation set is named twice in {', '.join(names)}")
        return sets


@dataclass(frozen=True, slots=True)
class _Grams:
    """Runs of one number of words: hashes in rising order, and the item and the word at which each stands."""

    size: int
    hashes: Hashes
    item: Numbers
    word: Numbers


@dataclass(frozen=True, slots=True)
class Hit:
    """Where a document holds an item: what stands there in each, in at most 100 characters."""

    item: Item
    document_excerpt: str
    item_excerpt: str

    @property
    def reason(self) -> str:
        """Both excerpts, and which item it is."""
        return (
            f"«{self.document_excerpt}» stands in evaluation set {self.item.set}, item {self.item.place}, "
            f"as «{self.item_excerpt}»"
        )


class EvaluationItems:
    """The items of evaluation sets, ready to be found in documents. Memory: 24 bytes a word of theirs, and 4 MiB.

    Attributes:
        items: all items.
        looked_for: those that are long enough to be looked for.
    """

    def __init__(self, items: Iterable[Item], words: int = 13, min_words: int = 8) -> None:
        """Index items by runs of so many words; an item with fewer, but `min_words` at least, as a whole."""
        self.items = tuple(items)
        grams = list(_grams_of(self.items, words, min_words))
        self._grams = {size: _joined(size, grams) for size in sorted({each.size for each in grams})}
        indexed = np.unique(np.concatenate([np.zeros(0, np.intp), *(each.item for each in grams)]))
        self.looked_for = tuple(self.items[number] for number in indexed)
        self._filter = np.zeros(1 << _FILTER_BITS, np.bool_)
        for each in self._grams.values():
            self._filter[_filter_place(each.hashes)] = True

    def find(self, texts: Sequence[str]) -> Iterator[Hit | None]:
        """Yield the first item that each text holds, if it holds one."""
        hits: dict[int, Hit] = {}
        pieces = [(number, piece) for number, text in enumerate(texts) for piece in _pieces(text)]
        for part in slices([piece for _, piece in pieces]):
            numbers, those = zip(*pieces[part], strict=True)
            for place, hit in self._find_in(those):
                hits.setdefault(numbers[place], hit)
        for number in range(len(texts)):
            yield hits.get(number)

    def _find_in(self, pieces: Sequence[str]) -> list[tuple[int, Hit]]:
        """Return the hits in some pieces with the pieces' numbers, in their order."""
        if not self._grams:
            return []
        words = _bare_words(pieces)
        found: list[tuple[int, int, Hit]] = []
        for size, hashes in gram_hashes(words.hashes, self._grams.keys()):
            candidates = np.flatnonzero(self._filter[_filter_place(hashes)])
            candidates = candidates[words.text[candidates] == words.text[candidates + size - 1]]
            found += self._verified(words, pieces, self._grams[size], candidates, hashes[candidates])
        return [(int(words.text[word]), hit) for word, _, hit in sorted(found, key=lambda each: each[:2])]

    def _verified(
        self, words: Words, pieces: Sequence[str], grams: _Grams, candidates: Numbers, hashes: Hashes
    ) -> Iterator[tuple[int, int, Hit]]:
        """Yield the word, size and hit of the first candidate of each piece whose words are an item's, one by one."""
        places = np.minimum(np.searchsorted(grams.hashes, hashes), len(grams.hashes) - 1)
        equal: Flags = grams.hashes[places] == hashes
        done: set[int] = set()
        for word, place in zip(candidates[equal].tolist(), places[equal].tolist(), strict=True):
            number = int(words.text[word])
            if number in done:
                continue
            item, start = self.items[grams.item[place]], int(grams.word[place])
            item_words = _bare_words([item.text])
            if _strings(words, word, grams.size) == _strings(item_words, start, grams.size):
                done.add(number)
                excerpts = (
                    _excerpt(words, word, grams.size, pieces),
                    _excerpt(item_words, start, grams.size, [item.text]),
                )
                yield word, grams.size, Hit(item, *excerpts)


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


def _bare_words(texts: Sequence[str]) -> Words:
    return words_of([text.casefold() for text in texts], bare=True)


def _grams_of(items: Sequence[Item], most: int, fewest: int) -> Iterator[_Grams]:
    texts = [item.text for item in items]
    for part in slices(texts):
        words = _bare_words(texts[part])
        counts = np.bincount(words.text, minlength=words.num_texts)
        begins = np.cumsum(counts) - counts
        sizes = np.minimum(counts, most)
        wanted = [int(size) for size in np.unique(sizes) if size >= fewest]
        for size, hashes in gram_hashes(words.hashes, wanted):
            places = np.arange(len(hashes))
            text = words.text[places]
            inside = (sizes[text] == size) & (text == words.text[places + size - 1])
            places, text = places[inside], text[inside]
            yield _Grams(size, hashes[places], text + part.start, places - begins[text])


def _joined(size: int, grams: Sequence[_Grams]) -> _Grams:
    those = [each for each in grams if each.size == size]
    hashes, item, word = (
        np.concatenate([getattr(each, name) for each in those]) for name in ("hashes", "item", "word")
    )
    order = np.argsort(hashes, kind="stable")  # of equal ones, the first item's is found
    return _Grams(size, hashes[order], item[order], word[order])


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


def _excerpt(words: Words, first: int, size: int, texts: Sequence[str]) -> str:
    """Return the words as their text writes them; in small letters where these are not as many as the text's."""
    number = int(words.text[first])
    folded = [text.casefold() for text in texts]
    begin = sum(len(text) + 1 for text in folded[:number])
    text = texts[number] if len(texts[number]) == len(folded[number]) else folded[number]
    assert words.positions is not None, "bare words know their positions"
    start, end = words.positions[words.starts[first]], words.positions[words.ends[first + size - 1] - 1] + 1
    excerpt = " ".join(text[start - begin : end - begin].split())
    return excerpt if len(excerpt) <= _EXCERPT_CHARACTERS else f"{excerpt[: _EXCERPT_CHARACTERS - 1]}…"
