"""Chats and preferences as token ids, each as a whole; or why one cannot be learned from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Self, TypeVar

import numpy as np
from tokenizers import Encoding, Tokenizer

from forge_pipelines.manifest import Document, Rejection, Segment
from forge_pipelines.shards.chats import ASSISTANT, ChatError, ChatTemplate
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


class _RefusedError(Exception):
    """A document cannot be learned from: by which rule, and what is wrong with it."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Encoder:
    """Writes records in a base's chat template, and turns them into token ids.

    Attributes:
        sequence_length: tokens that a record may have.
    """

    template: ChatTemplate
    tokenizer: Tokenizer
    sequence_length: int

    @classmethod
    def of(cls, template: ChatTemplate, tokenizer: Tokenizer, sequence_length: int) -> Self:
        """Take a tokenizer, which from here on finds special tokens in texts and adds none."""
        tokenizer.encode_special_tokens = False
        tokenizer.post_processor = None  # a byte-level one leaves white space out of where a token stands
        return cls(template, tokenizer, sequence_length)

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
        encodings = iter(self.tokenizer.encode_batch(texts, add_special_tokens=False))
        for document, each in zip(documents, written, strict=True):
            if isinstance(each, Rejection):
                yield each
            else:
                own = [*islice(encodings, len(each.texts))]
                yield _unless_refused(document, partial(finish, each, own))

    def _write_chat(self, document: Document) -> _Written:
        self._require(document, "chat")
        chat = self.template.render(document.segments)
        if not chat.answers:
            reason = "has no answer that the base's chat template writes after its own prompt, and leaves so"
            raise _RefusedError("no_answer", reason)
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
            raise _RefusedError("no_answer", "has no token of an answer, so that nothing could be learned from it")
        return Record(ids, np.where(answered, ids, np.int32(NOT_A_LABEL)), written.num_left_out)

    def _write_pair(self, document: Document) -> _Written:
        self._require(document, "preference")
        *asked, chosen, rejected = document.segments
        prompt = self.template.prompt(asked)
        return _Written((prompt, *(self._answered(asked, answer, prompt) for answer in (chosen, rejected))))

    def _answered(self, asked: Sequence[Segment], answer: Segment, prompt: str) -> str:
        """Return a prompt with an answer and the mark that ends its turn.

        Raises:
            _RefusedError: the answer does not follow on the prompt.
        """
        chat = self.template.render((*asked, Segment(ASSISTANT, answer.text)))
        start, end = chat.answers[-1] if chat.answers else (0, 0)
        if start != len(prompt):
            reason = f"has a {answer.role} answer that does not go on from its prompt in the base's chat template"
            raise _RefusedError("no_answer", reason)
        return chat.text[:end]

    def _pair(self, _: _Written, encodings: Sequence[Encoding]) -> Pair:
        prompt, chosen, rejected = (encoding.ids for encoding in encodings)
        self._require_room(max(len(chosen), len(rejected)))
        if prompt != chosen[: len(prompt)] or prompt != rejected[: len(prompt)]:
            reason = "has an answer whose beginning and the prompt's end are one token"
            raise _RefusedError("joined", f"{reason}; take the white space before the answer away")
        parts = (prompt, chosen[len(prompt) :], rejected[len(prompt) :])
        return Pair(*(np.array(part, dtype=np.int32) for part in parts))

    def _require(self, document: Document, kind: str) -> None:
        if document.kind != kind:
            raise _RefusedError(f"no_{kind}", f"is no {kind} but a {document.kind}, and training learns from {kind}s")
        quoted = next(filter(None, (self._quoted(segment.text) for segment in document.segments)), None)
        if quoted:
            reason = f"quotes {quoted}, which is no text to the base's tokenizer: it could forge a turn"
            raise _RefusedError("special_token", reason)

    def _quoted(self, text: str) -> str | None:
        """Return the first special token in a text, which tokenizers seek before they normalise it, and after."""
        special, normalizer = self.template.special, self.tokenizer.normalizer
        found = special.search(text) or (normalizer and special.search(normalizer.normalize_str(text)))
        return found[0] if found else None

    def _require_room(self, num_tokens: int) -> None:
        if num_tokens > self.sequence_length:
            reason = f"has {num_tokens:,} tokens, and a sequence has {self.sequence_length:,}"
            raise _RefusedError("too_long", f"{reason}; raise shards.sequence_length, or shorten it")


def _unless_refused(document: Document, make: Callable[[], _Made]) -> _Made | Rejection:
    try:
        return make()
    except _RefusedError as refused:
        return _rejection(document, refused.rule, str(refused))
    except ChatError as error:
        return _rejection(document, "chat_template", f"is not taken by the base's chat template: {error}")


def _rejection(document: Document, rule: str, reason: str) -> Rejection:
    excerpt = document.text[:_EXCERPT_CHARACTERS]
    return Rejection(document.doc_id, document.source, document.uri, STAGE, rule, reason, excerpt)
