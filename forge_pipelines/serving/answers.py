"""Answers in the shapes of OpenAI's API, whole and in chunks; each names the version that gave it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

from forge_pipelines.serving.engine import Piece

Json = Mapping[str, Any]


class Answer(Protocol):
    """How one answer is written."""

    def whole(self, text: str, last: Piece) -> Json:
        """Return the answer as one object."""

    def opening(self) -> Json | None:
        """Return the chunk before the first text, where there is one."""

    def chunk(self, piece: Piece) -> Json:
        """Return a chunk."""

    def usage(self, last: Piece) -> Json:
        """Return the chunk that has the counts and nothing else."""


@dataclass(frozen=True, slots=True)
class _Envelope:
    """What every object of an answer says."""

    model: str
    prefix: str
    id: str = field(default_factory=lambda: uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def around(self, kind: str, choices: list[Json], **more: Any) -> Json:
        head = {"id": f"{self.prefix}-{self.id}", "object": kind, "created": self.created, "model": self.model}
        return {**head, "choices": choices, **more}


class ChatAnswer:
    """The answer to a chat."""

    def __init__(self, model: str) -> None:
        self._envelope = _Envelope(model, "chatcmpl")

    def whole(self, text: str, last: Piece) -> Json:
        """Return the answer as one object."""
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": last.finish_reason}
        return self._envelope.around("chat.completion", [choice], usage=_counts(last))

    def opening(self) -> Json:
        """Return the chunk that says who speaks."""
        return self._chunk({"role": "assistant", "content": ""}, None)

    def chunk(self, piece: Piece) -> Json:
        """Return a chunk."""
        return self._chunk({"content": piece.text} if piece.text else {}, piece.finish_reason)

    def usage(self, last: Piece) -> Json:
        """Return the chunk that has the counts and nothing else."""
        return self._envelope.around("chat.completion.chunk", [], usage=_counts(last))

    def _chunk(self, delta: Json, finish_reason: str | None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._envelope.around("chat.completion.chunk", [choice])


class CompletionAnswer:
    """The continuation of a text."""

    def __init__(self, model: str) -> None:
        self._envelope = _Envelope(model, "cmpl")

    def whole(self, text: str, last: Piece) -> Json:
        """Return the answer as one object."""
        return self._envelope.around("text_completion", [_text(text, last.finish_reason)], usage=_counts(last))

    def opening(self) -> None:
        """Return None: a text has no opening chunk."""

    def chunk(self, piece: Piece) -> Json:
        """Return a chunk."""
        return self._envelope.around("text_completion", [_text(piece.text, piece.finish_reason)])

    def usage(self, last: Piece) -> Json:
        """Return the chunk that has the counts and nothing else."""
        return self._envelope.around("text_completion", [], usage=_counts(last))


def _text(text: str, finish_reason: str | None) -> Json:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}


def _counts(last: Piece) -> Json:
    return {
        "prompt_tokens": last.prompt_tokens,
        "completion_tokens": last.completion_tokens,
        "total_tokens": last.prompt_tokens + last.completion_tokens,
    }
