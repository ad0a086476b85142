"""Chats as a base's own chat template writes them, which of that an assistant says, and which are refused.

An answer is what the template adds to the prompt before it, generation prompt included, when the answer joins the
messages. A template that writes earlier turns in another way once later ones follow (that drops their thinking, say)
thus has only those answers that stand in the whole chat as they stood when they were given. What the end of a chat
adds beside text, an end of the whole for example, makes no difference.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jinja2 import Template, TemplateError
from tokenizers import Tokenizer

from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import Document, Segment
from forge_pipelines.shards.template_language import compile_template

TEMPLATE = "chat_template.jinja"
ASSISTANT = "assistant"

_SETTINGS = "tokenizer_config.json"
_MARKS = ("bos_token", "eos_token", "unk_token", "pad_token")
_FAULTS = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError)
"""What a template may raise: its own refusals, and whatever it does wrong with the values that it is handed."""


class ChatError(DataError):
    """A conversation cannot be learned from: by which rule, and what is wrong with it."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat as text.

    Attributes:
        answers: where each answer stands, with the mark that ends its turn: first character, and the one after the
            last. In their order; those that the template changes later are left out.
        num_left_out: how many those are.
    """

    text: str
    answers: tuple[tuple[int, int], ...]
    num_left_out: int = 0


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A base's chat template.

    Attributes:
        marks: the special tokens that a template can write by their names, such as ``eos_token``.
        special: finds a token that is no text to the tokenizer: the marks, and all others that it calls special.
        tokenizer: finds special tokens in texts, and adds none.
    """

    template: Template
    marks: Mapping[str, str]
    special: re.Pattern[str]
    tokenizer: Tokenizer

    @classmethod
    def of(cls, tokenizer_folder: Path, base: str = "the base") -> Self:
        """Read the chat template beside a tokenizer.

        Args:
            tokenizer_folder: of shards or of a checkpoint, or a base's own.
            base: what the base is called in messages.

        Raises:
            ConfigError: there is none, or it is not Jinja.
        """
        path = tokenizer_folder / TEMPLATE
        if not path.exists():
            advice = "adapt a base that has one, or train it with objective continue"
            raise ConfigError(f"{base} has no chat template, which chats are written in; {advice}")
        try:
            template = compile_template(path.read_text())
        except TemplateError as error:
            raise ConfigError(f"the chat template of {base} cannot be read: {_sentence(error)}; mend {path}") from error
        settings = json.loads((tokenizer_folder / _SETTINGS).read_text())
        marks = {name: settings[name] for name in _MARKS if settings.get(name)}
        tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
        tokenizer.no_truncation()  # as its maker may have saved it
        tokenizer.no_padding()
        tokenizer.post_processor = None  # a byte-level one leaves white space out of where a token stands
        added = tokenizer.get_added_tokens_decoder().values()
        special = {*marks.values(), *(token.content for token in added if token.special)}
        longest_first = sorted(special, key=lambda token: (-len(token), token))
        return cls(template, marks, re.compile("|".join(map(re.escape, longest_first))), tokenizer)

    def chat(self, document: Document) -> Chat:
        """Write a chat that has an answer.

        Raises:
            ChatError: it is none, quotes a special token, or the template does not take it or leaves no answer.
        """
        self._require(document, "chat")
        chat = self.render(document.segments)
        if not chat.answers:
            reason = "has no answer that the base's chat template writes after its own prompt, and leaves so"
            raise ChatError("no_answer", reason)
        return chat

    def pair(self, document: Document) -> tuple[str, str, str]:
        """Write a preference: its prompt, and the prompt with either answer and the mark that ends its turn.

        Raises:
            ChatError: it is none, quotes a special token, or an answer does not follow on the prompt.
        """
        self._require(document, "preference")
        *asked, chosen, rejected = document.segments
        prompt = self.prompt(asked)
        return prompt, self._answered(asked, chosen, prompt), self._answered(asked, rejected, prompt)

    def render(self, segments: Sequence[Segment]) -> Chat:
        """Write a chat, and find its answers.

        Raises:
            ChatError: the template does not take it.
        """
        text = self._write(segments)
        given = [number for number, segment in enumerate(segments) if segment.role == ASSISTANT]
        found = [self._answer(segments, number, text) for number in given]
        answers = tuple(answer for answer in found if answer is not None)
        return Chat(text, answers, len(given) - len(answers))

    def prompt(self, segments: Sequence[Segment]) -> str:
        """Write a chat up to where the assistant's next answer begins.

        Raises:
            ChatError: the template does not take it.
        """
        return self._write(segments, to_be_answered=True)

    def _require(self, document: Document, kind: str) -> None:
        if document.kind != kind:
            raise ChatError(f"no_{kind}", f"is no {kind} but a {document.kind}, and training learns from {kind}s")
        quoted = next(filter(None, (self._quoted(segment.text) for segment in document.segments)), None)
        if quoted:
            reason = f"quotes {quoted}, which is no text to the base's tokenizer: it could forge a turn"
            raise ChatError("special_token", reason)

    def _quoted(self, text: str) -> str | None:
        """Return the first special token in a text, which tokenizers seek before they normalise it, and after."""
        normalizer = self.tokenizer.normalizer
        found = self.special.search(text) or (normalizer and self.special.search(normalizer.normalize_str(text)))
        return found[0] if found else None

    def _answered(self, asked: Sequence[Segment], answer: Segment, prompt: str) -> str:
        chat = self.render((*asked, Segment(ASSISTANT, answer.text)))
        start, end = chat.answers[-1] if chat.answers else (0, 0)
        if start != len(prompt):
            reason = f"has a {answer.role} answer that does not go on from its prompt in the base's chat template"
            raise ChatError("no_answer", reason)
        return chat.text[:end]

    def _answer(self, segments: Sequence[Segment], number: int, text: str) -> tuple[int, int] | None:
        before = self.prompt(segments[:number])
        upto = text if number + 1 == len(segments) else self._write(segments[: number + 1])
        end = self._end_of_turn(upto, len(before))
        stays = upto.startswith(before) and text.startswith(upto[:end])
        return (len(before), end) if stays and end > len(before) else None

    def _end_of_turn(self, upto: str, start: int) -> int:
        """Return where an answer ends: after the first special token that nothing but others and space follow."""
        ends = [mark.end() for mark in self.special.finditer(upto, start)]
        return next((end for end in ends if not self.special.sub("", upto[end:]).strip()), len(upto))

    def _write(self, segments: Sequence[Segment], *, to_be_answered: bool = False) -> str:
        try:
            return self.template.render(
                **self.marks,
                messages=[{"role": segment.role, "content": segment.text} for segment in segments],
                tools=None,
                documents=None,
                add_generation_prompt=to_be_answered,
            )
        except _FAULTS as error:
            reason = f"is not taken by the base's chat template: {_sentence(error)}"
            raise ChatError("chat_template", reason) from error


def require_apart(prompt: Sequence[int], *answered: Sequence[int]) -> None:
    """Refuse a pair whose prompt's token ids are not those that the prompt with an answer begins with.

    Raises:
        ChatError: an answer's beginning and the prompt's end are one token.
    """
    if any(prompt != ids[: len(prompt)] for ids in answered):
        reason = "has an answer whose beginning and the prompt's end are one token"
        raise ChatError("joined", f"{reason}; take the white space before the answer away")


def _sentence(error: Exception) -> str:
    said = " ".join(str(error).split()).rstrip(".")
    return f"KeyError {said}" if isinstance(error, KeyError) else said or type(error).__name__
