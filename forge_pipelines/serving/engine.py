"""What an engine is asked, what it gives, and what every engine can do. An engine is a process that generates text."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from forge_pipelines.serving.refusal import Refusal

Message = Mapping[str, str]
"""One message of a chat: ``role`` and ``content``."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What is to be generated.

    Attributes:
        prompt: the messages of a chat, or a text to go on from.
        max_tokens: no more than this many.
        sampling: transformers' generation settings (``do_sample``, ``temperature``, …) that differ from the model's.
        seed: of the sampling.
    """

    prompt: tuple[Message, ...] | str
    max_tokens: int
    sampling: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Some more text; the last piece has a reason and counts, in tokens.

    Attributes:
        finish_reason: ``length`` where ``max_tokens`` ended it.
    """

    text: str
    finish_reason: Literal["stop", "length"] | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


class EngineLost(Refusal):
    """The engine ended, or stopped answering, before an answer was complete."""

    def __init__(self, how: str) -> None:
        super().__init__(502, f"the model's process {how}; send the request again", code="engine_lost")


class Engine(Protocol):
    """A process that has a model loaded."""

    parallel: int
    """How many generations run at once; more wait inside the engine, unbounded."""

    async def start(self) -> None:
        """Load the model; return when it has generated a token.

        Raises:
            PlatformError: it does not; the message names the log.
        """

    def generate(self, generation: Generation) -> AsyncGenerator[Piece, None]:
        """Yield text as it is made; closing the generator ends the work.

        Raises:
            EngineLost: the process ended or hangs.
            Refusal: it refuses.
        """

    def fault(self) -> str | None:
        """Return in a sentence how the process ended, and where its log is; None while it lives."""

    def end(self) -> None:
        """End the process and all its descendants; returns when they are gone."""
