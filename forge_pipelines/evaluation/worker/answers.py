"""What a network answers to questions: its likeliest tokens one after the other (greedy), several questions at once."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteria, StoppingCriteriaList

from forge_pipelines.errors import DataError
from forge_pipelines.shards.tokenizer import DocumentTokens

_AT_ONCE = 16


class _StepTeller(StoppingCriteria):
    """Stops nothing: it is how generation tells its steps."""

    def __init__(self, on_step: Callable[[], None]) -> None:
        self._on_step = on_step

    def __call__(self, input_ids: torch.LongTensor, *_: Any, **__: Any) -> Any:
        self._on_step()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def write_prompts(tokenizer: Any, begin: int, questions: Sequence[str]) -> list[list[int]]:
    """Return the token ids after which each answer begins.

    A question is a user's turn where the tokenizer has a chat template, and otherwise the beginning of a document.
    """
    if tokenizer.chat_template is None:
        plain = {"add_special_tokens": False, "split_special_tokens": True}
        return [[begin, *tokenizer(question, **plain)["input_ids"]] for question in questions]
    turns = [[{"role": "user", "content": question}] for question in questions]
    return [tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=False) for turn in turns]


def answer(
    network: PreTrainedModel,
    tokenizer: Any,
    special: DocumentTokens,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    on_tokens: Callable[[int, int], None],
) -> list[str]:
    """Return the network's answer to each prompt, as text without special tokens.

    An answer ends with the network's own end of turn or of document. One that is cut at ``max_tokens``, or where the
    network can see no further, ends with ``…``.

    Args:
        network: on its device.
        tokenizer: the network's.
        special: what documents end with, and what pads.
        prompts: token ids of each question, see `write_prompts`.
        max_tokens: tokens of an answer, at most.
        on_tokens: told how many tokens each answer may have by now, over all of them, and how many in all.

    Raises:
        DataError: a question leaves no room for an answer.
    """
    stops = _stop_tokens(network, tokenizer, special)
    total = len(prompts) * max_tokens
    answers: list[str] = []
    for first in range(0, len(prompts), _AT_ONCE):
        batch = prompts[first : first + _AT_ONCE]
        steps = count(first * max_tokens + len(batch), len(batch))
        written = _generate(
            network, batch, stops, special.pad, max_tokens, partial(_tell_next, steps, on_tokens, total)
        )
        answers += [_to_text(tokenizer, ids, stops) for ids in written]
        on_tokens((first + len(batch)) * max_tokens, total)
    return answers


def _tell_next(steps: Iterator[int], on_tokens: Callable[[int, int], None], total: int) -> None:
    on_tokens(next(steps), total)


def _stop_tokens(network: PreTrainedModel, tokenizer: Any, special: DocumentTokens) -> list[int]:
    configured = network.config.eos_token_id
    turn_ends = configured if isinstance(configured, list) else [configured]
    return sorted({special.end, tokenizer.eos_token_id, *turn_ends} - {None})


@torch.inference_mode()
def _generate(
    network: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    stops: list[int],
    pad: int,
    max_tokens: int,
    on_step: Callable[[], None],
) -> list[list[int]]:
    length = max(map(len, prompts))
    room = network.config.max_position_embeddings - length
    if room < 1:
        raise DataError(
            f"a question of evaluation.questions is {length} tokens long, and the model sees "
            f"{network.config.max_position_embeddings}; shorten it"
        )
    # Padding stands on the left, so that every answer begins in the same column; the mask hides it.
    rows = [[pad] * (length - len(ids)) + list(ids) for ids in prompts]
    mask = [[0] * (length - len(ids)) + [1] * len(ids) for ids in prompts]
    network.generation_config = GenerationConfig(
        do_sample=False,
        use_cache=True,
        max_new_tokens=min(max_tokens, room),
        pad_token_id=pad,
        eos_token_id=stops,
    )
    written_BT = network.generate(  # noqa: N806 - the shape
        torch.tensor(rows, device=network.device),
        attention_mask=torch.tensor(mask, device=network.device),
        stopping_criteria=StoppingCriteriaList([_StepTeller(on_step)]),
    )
    return [row[length:] for row in written_BT.tolist()]


def _to_text(tokenizer: Any, ids: Sequence[int], stops: Sequence[int]) -> str:
    end = next((position for position, token in enumerate(ids) if token in stops), None)
    text = tokenizer.decode(ids[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()
    return str(text) if end is not None else f"{text} …"
