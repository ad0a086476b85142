"""How documents become the rows of shards: texts and chats in sequences, preferences as pairs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from tokenizers import Tokenizer

from forge_pipelines.manifest import Document, Rejection
from forge_pipelines.shards.chats import ChatTemplate
from forge_pipelines.shards.config import Examples
from forge_pipelines.shards.packing import Packer, Record
from forge_pipelines.shards.pairs import Pair, PairFile
from forge_pipelines.shards.reading import SEQUENCES, TOKENIZER
from forge_pipelines.shards.records import Encoder
from forge_pipelines.shards.tokenizer import DocumentTokens, read_document_tokens


@dataclass(frozen=True, slots=True)
class Taken:
    """A document that stands in the shards, and how many of its tokens there are and are learned.

    Attributes:
        num_left_out: answers of a chat that are not learned, because the base's chat template changes them.
    """

    document: Document
    num_tokens: int
    num_labels: int
    num_left_out: int = 0


class Rows(Protocol):
    """The file of a filling."""

    @property
    def num_sequences(self) -> int:
        """Rows in all."""

    def write_spans(self, path: Path) -> None:
        """Write which document stands where."""


class Filling(Protocol):
    """Takes a corpus's documents, so many at once, and writes them as rows.

    Attributes:
        at_once: documents of a batch; records are packed with others of theirs.
    """

    at_once: int

    @property
    def rows(self) -> Rows:
        """Where they are written."""

    def add(self, first_index: int, documents: Sequence[Document]) -> Iterator[Taken | Rejection]:
        """Yield what became of each document, in their order; those that are taken are numbered from an index on."""

    def end_corpus(self) -> None:
        """Close what no other corpus may go on in."""


@dataclass(slots=True)
class TextFilling:
    """Texts, one after another."""

    rows: Packer
    tokenizer: Tokenizer
    marks: DocumentTokens
    at_once: int = 256

    def add(self, first_index: int, documents: Sequence[Document]) -> Iterator[Taken | Rejection]:
        """See `Filling`."""
        self.tokenizer.encode_special_tokens = True  # a document that quotes «</s>» does not end there
        texts = [document.text for document in documents]
        encodings = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        for index, (document, encoding) in enumerate(zip(documents, encodings, strict=True), first_index):
            ids = np.array([self.marks.begin, *encoding.ids, self.marks.end], dtype=np.int32)
            yield Taken(document, len(ids), self.rows.add(index, ids))

    def end_corpus(self) -> None:
        """See `Filling`."""
        self.rows.finish_sequence()


@dataclass(slots=True)
class ChatFilling:
    """Chats, each as a whole."""

    rows: Packer
    encoder: Encoder
    at_once: int = 1024

    def add(self, first_index: int, documents: Sequence[Document]) -> Iterator[Taken | Rejection]:
        """See `Filling`."""
        encoded = [*self.encoder.chats(documents)]
        self.rows.add_records(first_index, [each for each in encoded if isinstance(each, Record)])
        yield from map(_taken, documents, encoded)

    def end_corpus(self) -> None:
        """See `Filling`."""


@dataclass(slots=True)
class PairFilling:
    """Preferences, a row each."""

    rows: PairFile
    encoder: Encoder
    at_once: int = 256

    def add(self, first_index: int, documents: Sequence[Document]) -> Iterator[Taken | Rejection]:
        """See `Filling`."""
        index = first_index
        for document, each in zip(documents, self.encoder.pairs(documents), strict=True):
            if isinstance(each, Pair):
                self.rows.add(index, each)
                index += 1
            yield _taken(document, each)

    def end_corpus(self) -> None:
        """See `Filling`."""


def _taken(document: Document, each: Record | Pair | Rejection) -> Taken | Rejection:
    if isinstance(each, Rejection):
        return each
    left_out = each.num_left_out if isinstance(each, Record) else 0
    return Taken(document, each.num_tokens, each.num_labels, left_out)


@contextmanager
def open_filling(
    examples: Examples, folder: Path, tokenizer: Tokenizer, sequence_length: int, base: str | None
) -> Iterator[Filling]:
    """Open what fills a new shards folder, in which the tokenizer stands already.

    Args:
        base: name of the base, for messages.

    Raises:
        ConfigError: chats and preferences need a chat template, and the base has none.
    """
    marks = read_document_tokens(folder / TOKENIZER)
    if examples == "texts":
        with Packer(folder / SEQUENCES, sequence_length, marks.pad) as packer:
            yield TextFilling(packer, tokenizer, marks)
        return
    template = ChatTemplate.of(folder / TOKENIZER, f"the base {base}")
    encoder = Encoder(template, sequence_length)
    if examples == "chats":
        with Packer(folder / SEQUENCES, sequence_length, marks.pad) as packer:
            yield ChatFilling(packer, encoder)
    else:
        with PairFile(folder / SEQUENCES) as pairs:
            yield PairFilling(pairs, encoder)
