"""Chats and preferences as token ids, each as a whole; or why one cannot be learned from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

import numpy as np
from tokenizers import Encoding

from forge_pipelines.manifest import Document, Rejection
from forge_pipelines.shards.chats import ChatError, ChatTemplate, require_apart
from forge_pipelines.shards.packing import NOT_A_LABEL, Record
from forge_pipelines.shards.pairs import Pair
from forge_pipelines.shards.reading import STAGE

_EXCERPT_CHARACTERS = 200

_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class _Written:
    """What is encoded of a document; of a chat, where answers stand in it, and how many are left out."""

    texts: tuple[str, ...]
    answers: tuple[tuple[int, int], ...] = ()
    num_left_out: int = 0


@dataclass(frozen=True, slots=True)
class Encoder:
    """Writes records in a base's chat template, and turns them into token ids.

    Attributes:
        sequence_length: tokens that a record may have.
    """

    template: ChatTemplate
    sequence_length: int

    def chats(self, documents: Sequence[Document]) -> Iterator[Record | Rejection]:
        """Yield what each document becomes, in their order: labels are the tokens that begin in an answer."""
        return self._encoded(documents, self._write_chat, self._record)

    def pairs(self, documents: Sequence[Document]) -> Iterator[Pair | Rejection]:
        """Yield what each document becomes, in their order."""
        return self._encoded(documents, self._write_pair, self._pair)

    def _encoded(
        self,
        documents: Sequence[Document],
        write: Callable[[Document], _Written],
        finish: Callable[[_Written, Sequence[Encoding]], _Made],
    ) -> Iterator[_Made | Rejection]:
        written = [_unless_refused(document, partial(write, document)) for document in documents]
        texts = [text for each in written if isinstance(each, _Written) for text in each.texts]
        encodings = iter(self.template.tokenizer.encode_batch(texts, add_special_tokens=False))
        for document, each in zip(documents, written, strict=True):
            if isinstance(each, Rejection):
                yield each
            else:
                own = [*islice(encodings, len(each.texts))]
                yield _unless_refused(document, partial(finish, each, own))

    def _write_chat(self, document: Document) -> _Written:
        chat = self.template.chat(document)
        return _Written((chat.text,), chat.answers, chat.num_left_out)

    def _record(self, written: _Written, encodings: Sequence[Encoding]) -> Record:
        [encoding] = encodings
        self._require_room(len(encoding))
        ids = np.array(encoding.ids, dtype=np.int32)
        starts = np.array([start for start, _ in encoding.offsets], dtype=np.int64)
        answered = np.zeros(len(ids), dtype=np.bool_)
        for start, end in written.answers:
            answered |= (starts >= start) & (starts < end)
        answered[0] = False
        if not answered.any():
            raise ChatError("no_answer", "has no token of an answer, so that nothing could be learned from it")
        return Record(ids, np.where(answered, ids, np.int32(NOT_A_LABEL)), written.num_left_out)

    def _write_pair(self, document: Document) -> _Written:
        return _Written(self.template.pair(document))

    def _pair(self, _: _Written, encodings: Sequence[Encoding]) -> Pair:
        prompt, chosen, rejected = (encoding.ids for encoding in encodings)
        self._require_room(max(len(chosen), len(rejected)))
        require_apart(prompt, chosen, rejected)
        parts = (prompt, chosen[len(prompt) :], rejected[len(prompt) :])
        return Pair(*(np.array(part, dtype=np.int32) for part in parts))

    def _require_room(self, num_tokens: int) -> None:
        if num_tokens > self.sequence_length:
            reason = f"has {num_tokens:,} tokens, and a sequence has {self.sequence_length:,}"
            raise ChatError("too_long", f"{reason}; raise shards.sequence_length, or shorten it")


def _unless_refused(document: Document, make: Callable[[], _Made]) -> _Made | Rejection:
    try:
        return make()
    except ChatError as refused:
        excerpt = document.text[:_EXCERPT_CHARACTERS]
        return Rejection(document.doc_id, document.source, document.uri, STAGE, refused.rule, str(refused), excerpt)
