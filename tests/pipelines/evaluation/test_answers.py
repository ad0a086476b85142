"""Answers: greedy, several at once, ended where the network ends them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_samples import Adapted, Texts, plain
from transformers import PreTrainedModel

from forge_pipelines.errors import DataError
from forge_pipelines.evaluation.worker import measure
from forge_pipelines.evaluation.worker.answers import answer, write_prompts
from forge_pipelines.evaluation.worker.encoding import encode
from forge_pipelines.evaluation.worker.networks import load_network, load_tokenizer
from forge_pipelines.shards.tokenizer import DocumentTokens, read_document_tokens

QUESTIONS = (
    "When does the pump start?",
    "Section 3.1: A leaking",
    "Close the valve before the filter is opened; then?",
)
TOKENS = 12


@pytest.fixture(scope="module")
def network(checkpoint_folder: Path) -> PreTrainedModel:
    return load_network(checkpoint_folder, "cpu", "float32")


@pytest.fixture(scope="module")
def tokenizer(checkpoint_folder: Path) -> Any:
    return load_tokenizer(checkpoint_folder)


@pytest.fixture(scope="module")
def special(checkpoint_folder: Path) -> DocumentTokens:
    return read_document_tokens(checkpoint_folder)


@torch.inference_mode()
def _greedy(network: PreTrainedModel, prompt: list[int]) -> list[int]:
    ids = list(prompt)
    for _ in range(TOKENS):
        ids.append(int(network(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def test_answers_of_a_batch_are_those_of_a_plain_loop_over_each_question_alone(
    network: PreTrainedModel, tokenizer: Any, special: DocumentTokens
) -> None:
    prompts = write_prompts(tokenizer, special.begin, QUESTIONS)
    assert len(set(map(len, prompts))) == len(prompts)
    told: list[tuple[int, int]] = []
    answers = answer(network, tokenizer, special, prompts, TOKENS, lambda *each: told.append(each))
    alone = [_greedy(network, prompt) for prompt in prompts]
    stops = {special.end, tokenizer.eos_token_id}
    assert not any(stops & set(ids) for ids in alone)
    assert answers == [f"{tokenizer.decode(ids, skip_special_tokens=True).strip()} …" for ids in alone]
    assert told[-1] == (len(prompts) * TOKENS, len(prompts) * TOKENS)
    assert sorted(told) == told


def test_an_answer_ends_at_the_token_that_ends_documents(
    network: PreTrainedModel, tokenizer: Any, special: DocumentTokens
) -> None:
    [prompt] = write_prompts(tokenizer, special.begin, QUESTIONS[:1])
    ids = _greedy(network, prompt)
    end = ids[4]
    ended = special.model_copy(update={"end": end})
    [text] = answer(network, tokenizer, ended, [prompt], TOKENS, lambda *_: None)
    assert text == tokenizer.decode(ids[: ids.index(end)]).strip()


def test_a_question_is_a_turn_of_a_chat_where_the_model_can_chat(adapted_folders: Adapted) -> None:
    tokenizer = load_tokenizer(adapted_folders.checkpoint)
    [prompt] = write_prompts(tokenizer, 1, ["When?"])
    assert tokenizer.decode(prompt) == "<s>When?</s><s>"


def test_a_question_that_leaves_no_room_for_an_answer_is_refused(
    network: PreTrainedModel, tokenizer: Any, special: DocumentTokens
) -> None:
    room = network.config.max_position_embeddings
    with pytest.raises(DataError, match=rf"evaluation\.questions is {room} tokens long.* sees {room}; shorten"):
        answer(network, tokenizer, special, [[5] * room], TOKENS, lambda *_: None)
    answer(network, tokenizer, special, [[5] * (room - 1)], TOKENS, lambda *_: None)


def test_having_answered_does_not_change_a_score(
    network: PreTrainedModel, tokenizer: Any, special: DocumentTokens, texts: Texts
) -> None:
    documents = encode(tokenizer, special.begin, plain(texts.heldout[:4]))
    before = measure.score(network, documents, 32, lambda *_: None)
    answer(network, tokenizer, special, write_prompts(tokenizer, special.begin, QUESTIONS), 4, lambda *_: None)
    assert measure.score(network, documents, 32, lambda *_: None) == before
