"""A model's prompts: how many tokens one has, and whether it fits. Only the tokenizer is loaded, not the network."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forge_pipelines.serving.engine import Message
from forge_pipelines.serving.refusal import Refusal


class Prompts:
    """The tokenizer and the window of one model.

    Args:
        folder: the model's files.

    Attributes:
        window: how many tokens prompt and answer may have together.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import PreTrainedTokenizerFast

        self._tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        self.window = int(json.loads((folder / "config.json").read_text())["max_position_embeddings"])

    @property
    def is_chat(self) -> bool:
        """Whether the model has a chat template."""
        return self._tokenizer.chat_template is not None

    def count(self, prompt: Sequence[Message] | str) -> int:
        """Return how many tokens a prompt has, the chat template's among them.

        Raises:
            Refusal: the chat template does not take these messages.
        """
        from jinja2 import TemplateError

        if isinstance(prompt, str):
            return len(self._tokenizer(prompt)["input_ids"])
        if not self.is_chat:
            message = "this model has no chat template, so it continues texts: send a prompt to /v1/completions instead"
            raise Refusal(400, message, code="no_chat_template", param="messages")
        try:
            ids = self._tokenizer.apply_chat_template(list(prompt), add_generation_prompt=True, return_dict=True)
        except TemplateError as error:
            message = f"the model's chat template does not take these messages: {error}"
            raise Refusal(400, message, code="invalid_messages", param="messages") from error
        return len(ids["input_ids"])

    def measure(self, prompt: Sequence[Message] | str) -> int:
        """Return how many tokens a prompt has that leaves the answer at least one.

        Raises:
            Refusal: it is empty, or fills the window.
        """
        num_tokens = self.count(prompt)
        field = "prompt" if isinstance(prompt, str) else "messages"
        if num_tokens == 0:
            raise Refusal(400, "the prompt is empty; give the model a text to go on from", param=field)
        if num_tokens >= self.window:
            message = (
                f"the prompt has {num_tokens} tokens, and this model's window is {self.window} tokens, prompt and "
                "answer together; shorten the prompt"
            )
            raise Refusal(400, message, code="context_length_exceeded", param=field)
        return num_tokens

    def count_answer(self, text: str) -> int:
        """Return how many tokens a generated text has."""
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])
