"""A conversation with one model: what was said so far, as much of it as the window holds."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from forge_pipelines.serving.deployment import Deployment
from forge_pipelines.serving.engine import Message
from forge_pipelines.serving.questions import ChatQuestion, CompletionQuestion, Question

_REPETITION_PENALTY = 1.1


class Conversation:
    """Questions to one model, one after another. A model without a chat template goes on from each text alone.

    Args:
        deployment: the model, started.
        temperature: 0 takes the likeliest token at each step.
        max_tokens: of an answer.

    Attributes:
        forgotten: how many messages at the beginning the model is no longer given, for want of room.
    """

    def __init__(self, deployment: Deployment, temperature: float, max_tokens: int) -> None:
        self._deployment = deployment
        self._settings = {
            "model": deployment.model.id,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "repetition_penalty": _REPETITION_PENALTY,
        }
        self._answer_tokens = min(max_tokens, deployment.prompts.window // 4)
        self._messages: list[Message] = []
        self.forgotten = 0

    @property
    def title(self) -> str:
        """What the model is called."""
        return self._deployment.model.id

    @property
    def is_chat(self) -> bool:
        """Whether the model answers, rather than goes on from a text."""
        return self._deployment.prompts.is_chat

    async def ask(self, text: str) -> AsyncGenerator[str, None]:
        """Yield the answer as it is made; what was yielded is remembered, also when the generator is closed early.

        Raises:
            Refusal: the text alone fills the window, or the engine is lost.
        """
        answer = ""
        question = self._question(text)
        try:
            async with aclosing(self._deployment.answer(question)) as pieces:
                async for piece in pieces:
                    answer += piece.text
                    yield piece.text
        finally:
            self._remember(answer)

    def _question(self, text: str) -> Question:
        if not self.is_chat:
            return CompletionQuestion.model_validate({**self._settings, "prompt": text})
        self._messages.append({"role": "user", "content": text})
        prompts = self._deployment.prompts
        while len(self._messages) > 1 and prompts.count(self._messages) + self._answer_tokens > prompts.window:
            del self._messages[:2]  # a question and its answer
            self.forgotten += 2
        return ChatQuestion.model_validate({**self._settings, "messages": self._messages})

    def _remember(self, answer: str) -> None:
        if not self.is_chat:
            return
        if answer:
            self._messages.append({"role": "assistant", "content": answer})
        else:
            self._messages.pop()
