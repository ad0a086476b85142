"""What an application may ask, and how it is read: the two requests of OpenAI's API that are answered.

What would change an answer and is not done here is refused; what changes none is taken and ignored.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from forge_pipelines.manifest import Value
from forge_pipelines.serving.engine import Message
from forge_pipelines.serving.refusal import Refusal

_CHAT_TOKENS = 1024
_COMPLETION_TOKENS = 16  # OpenAI's default


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _in_parts(value: Any) -> Any:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


_Stop = Annotated[str, Field(min_length=1)]
_Stops = Annotated[tuple[_Stop, ...], BeforeValidator(_listed), Field(max_length=4, strict=False)]


class StreamOptions(Value):
    """How an answer is streamed; ``include_obfuscation`` is ignored."""

    include_usage: bool = False
    include_obfuscation: bool = False


class _Question(Value):
    """What both requests have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0)
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    seed: int | None = Field(None, ge=0, lt=2**63)
    stop: _Stops | None = None

    # Taken where they ask for nothing else than what is done.
    n: Literal[1] | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    user: str | None = None

    @model_validator(mode="after")
    def _check_stream_options(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options may be given only where stream is true")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts before which an answer ends."""
        return self.stop or ()

    @property
    def sampling(self) -> Mapping[str, Any]:
        """Settings of transformers' generation; none where the request says nothing, and the model's own hold."""
        penalty = {} if self.repetition_penalty is None else {"repetition_penalty": self.repetition_penalty}
        if self.temperature is None and self.top_p is None and self.top_k is None:
            return penalty
        if self.temperature == 0:
            return {**penalty, "do_sample": False}
        chosen = {"temperature": self.temperature or 1.0, "top_p": self.top_p or 1.0, "top_k": self.top_k or 0}
        return {**penalty, "do_sample": True, **chosen}


class TextPart(Value):
    """A part of a message's content; only text is taken."""

    type: Literal["text"]
    text: str


class ChatMessage(Value):
    """One message of a chat; ``developer`` is what newer clients call ``system``."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[tuple[TextPart, ...], BeforeValidator(_in_parts), Field(strict=False)]
    name: str | None = None
    refusal: None = None

    def plain(self) -> Message:
        """Return the role and the whole text."""
        role = "system" if self.role == "developer" else self.role
        return {"role": role, "content": " ".join(part.text for part in self.content)}


class ChatQuestion(_Question):
    """A request to ``/v1/chat/completions``."""

    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1, strict=False)]
    max_completion_tokens: int | None = Field(None, ge=1)

    tools: Annotated[tuple[Any, ...], Field(max_length=0, strict=False)] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    response_format: Mapping[Literal["type"], Literal["text"]] | None = None
    modalities: Annotated[tuple[Literal["text"], ...], Field(strict=False)] | None = None
    logprobs: Literal[False] | None = None
    top_logprobs: Literal[0] | None = None
    store: Literal[False] | None = None
    metadata: Mapping[str, str] | None = None
    service_tier: Literal["auto", "default"] | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The messages, each with its whole text."""
        return tuple(message.plain() for message in self.messages)

    @property
    def wanted_tokens(self) -> int:
        """How many tokens the answer may have, the window apart."""
        return self.max_completion_tokens or self.max_tokens or _CHAT_TOKENS


class CompletionQuestion(_Question):
    """A request to ``/v1/completions``."""

    prompts: Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1, max_length=1, strict=False)] = (
        Field(alias="prompt", description="One text, or a list of one.")
    )

    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    logprobs: Literal[0] | None = None
    suffix: Literal[""] | None = None

    @property
    def prompt(self) -> str:
        """The text to go on from."""
        return self.prompts[0]

    @property
    def wanted_tokens(self) -> int:
        """How many tokens the answer may have, the window apart."""
        return self.max_tokens or _COMPLETION_TOKENS


Question = ChatQuestion | CompletionQuestion


def read_question(kind: type[ChatQuestion] | type[CompletionQuestion], body: bytes) -> Question:
    """Read a request's body.

    Raises:
        Refusal: it is no JSON, lacks something, or asks for what is not done; the message names the field.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        refusal = _refusal(error.errors(include_url=False))
        raise refusal from error


def _refusal(faults: Sequence[ErrorDetails]) -> Refusal:
    fault = faults[0]
    if fault["type"] == "json_invalid":
        return Refusal(400, f"the body is no JSON: {fault['msg'].removeprefix('Invalid JSON: ')}", code="invalid_json")
    param = ".".join(str(part) for part in fault["loc"])
    match fault["type"]:
        case "missing":
            return Refusal(400, f"the field {param} is missing", code="missing_required_parameter", param=param)
        case "extra_forbidden":
            return Refusal(400, f"the field {param} is not known here", code="unknown_parameter", param=param)
    said = fault["msg"].removeprefix("Value error, ").replace("Tuple ", "List ").replace("tuple", "list")
    where = f"the field {param} cannot be taken: " if param else "the request cannot be taken: "
    return Refusal(400, f"{where}{said[:1].lower()}{said[1:]}", code="invalid_value", param=param or None)
