"""The bits themselves: against a slow plain loop, and whatever the windows and batches."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_samples import CONTEXT, SEED, Texts, plain
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from forge_pipelines.errors import DataError
from forge_pipelines.evaluation.worker import measure
from forge_pipelines.evaluation.worker.encoding import Encoded, encode
from forge_pipelines.evaluation.worker.networks import (
    build_untrained,
    context_tokens,
    load_network,
    load_tokenizer,
)
from forge_pipelines.evaluation.worker.windows import batches, windows
from forge_pipelines.shards.tokenizer import read_document_tokens
from forge_pipelines.training.worker.network import build_network


@pytest.fixture(scope="module")
def network(checkpoint_folder: Path) -> PreTrainedModel:
    return load_network(checkpoint_folder, "cpu", "float32")


@pytest.fixture(scope="module")
def documents(checkpoint_folder: Path, texts: Texts) -> list[Encoded]:
    return encode(load_tokenizer(checkpoint_folder), _begin(checkpoint_folder), plain(texts.heldout))


def _begin(folder: Path) -> int:
    return read_document_tokens(folder).begin


def _score(network: PreTrainedModel, documents: list[Encoded]) -> list[float]:
    return measure.score(network, documents, CONTEXT, lambda *_: None)


@torch.inference_mode()
def _bits_token_by_token(network: PreTrainedModel, ids: Sequence[int]) -> float:
    bits = 0.0
    for position in range(1, len(ids)):
        # How far the window that scores this token has moved on: by halves of the context, never past the end.
        moves = max(math.ceil((position - CONTEXT) / (CONTEXT // 2)), 0)
        end = min(CONTEXT + moves * (CONTEXT // 2), len(ids) - 1)
        context = ids[max(end - CONTEXT, 0) : position]
        logits = network(input_ids=torch.tensor([context]), use_cache=False).logits[0, -1]
        bits -= torch.log_softmax(logits, dim=-1)[ids[position]].item() / math.log(2)
    return bits


def test_bits_equal_a_plain_loop_over_single_tokens(network: PreTrainedModel, documents: list[Encoded]) -> None:
    short = next(document for document in documents if len(document.ids) <= CONTEXT)
    long = max(documents, key=lambda document: len(document.ids))
    assert len(long.ids) > 3 * CONTEXT
    expected = [_bits_token_by_token(network, document.ids) for document in (short, long)]
    assert _score(network, [short, long]) == pytest.approx(expected, rel=1e-4)


def test_batching_does_not_change_a_score(
    network: PreTrainedModel, documents: list[Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = _score(network, documents)
    monkeypatch.setattr(measure, "_LOGITS_A_BATCH", 1)
    assert _score(network, documents) == pytest.approx(together, rel=1e-5)
    assert [_score(network, [document])[0] for document in documents] == pytest.approx(together, rel=1e-5)


@pytest.mark.parametrize("num_inputs", [1, 2, CONTEXT - 1, CONTEXT, CONTEXT + 1, 47, 48, 49, 1000])
def test_every_token_is_scored_once_and_told_from_half_a_context_at_least(num_inputs: int) -> None:
    made = list(windows(0, num_inputs, CONTEXT))
    assert [position for each in made for position in range(each.scored_from, each.stop)] == list(range(num_inputs))
    assert all(each.start >= 0 and each.length <= CONTEXT for each in made)
    assert all(each.scored_from - each.start >= CONTEXT // 2 for each in made[1:])


def test_a_batch_is_never_larger_than_allowed_unless_one_window_is() -> None:
    made = [window for document in range(9) for window in windows(document, 10 + 7 * document, CONTEXT)]
    formed = list(batches(made, 2 * CONTEXT))
    assert sorted(map(hash, made)) == sorted(hash(window) for batch in formed for window in batch)
    assert all(len(batch) * batch[0].length <= 2 * CONTEXT for batch in formed)
    assert [len(batch) for batch in batches(made, 1)] == [1] * len(made)


def test_the_context_is_what_the_model_was_trained_on_not_what_it_could_take(
    network: PreTrainedModel, checkpoint_folder: Path
) -> None:
    assert network.config.max_position_embeddings > CONTEXT
    tokenizer = load_tokenizer(checkpoint_folder)
    assert context_tokens(checkpoint_folder, tokenizer, 1024) == CONTEXT
    assert context_tokens(checkpoint_folder, tokenizer, CONTEXT // 2) == CONTEXT // 2


def test_the_untrained_base_is_a_function_of_configuration_and_seed(checkpoint_folder: Path) -> None:
    torch.manual_seed(99)
    first = build_untrained(checkpoint_folder, SEED, "cpu").state_dict()
    again = build_untrained(checkpoint_folder, SEED, "cpu").state_dict()
    other = build_untrained(checkpoint_folder, SEED + 1, "cpu").state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_the_untrained_base_is_the_network_that_training_begins_with(checkpoint_folder: Path, tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    architecture = {"model_type": "mistral", "num_key_value_heads": 1, **sizes}
    begun_with = build_network(architecture, checkpoint_folder, SEED)
    begun_with.save_pretrained(tmp_path)
    rebuilt = build_untrained(tmp_path, SEED, "cpu").state_dict()
    assert all(torch.equal(rebuilt[key], weight) for key, weight in begun_with.state_dict().items())


def test_an_untrained_network_needs_about_as_many_bits_as_a_blind_guess(
    checkpoint_folder: Path, documents: list[Encoded], network: PreTrainedModel
) -> None:
    num_tokens = sum(len(document.scored) for document in documents)
    blind = math.log2(network.config.vocab_size)
    untrained = sum(_score(build_untrained(checkpoint_folder, SEED, "cpu"), documents)) / num_tokens
    assert untrained == pytest.approx(blind, rel=0.05)
    assert sum(_score(network, documents)) / num_tokens < 0.6 * blind


def test_a_special_token_quoted_in_a_document_is_only_text(checkpoint_folder: Path) -> None:
    tokenizer = load_tokenizer(checkpoint_folder)
    [encoded] = encode(tokenizer, _begin(checkpoint_folder), plain(["end </s> of <s>"]))
    assert encoded.ids[0] == tokenizer.bos_token_id
    assert not set(encoded.ids[1:]) & set(tokenizer.all_special_ids)


def test_a_tokenizer_that_loses_characters_is_refused(checkpoint_folder: Path) -> None:
    from tokenizers import normalizers

    tokenizer: Any = load_tokenizer(checkpoint_folder)
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(DataError, match="loses characters"):
        encode(tokenizer, 1, plain(["A Text"]))


@pytest.mark.parametrize("harm", ["missing", "reshaped"])
def test_a_checkpoint_that_lacks_a_weight_is_refused_and_not_filled_at_random(
    checkpoint_folder: Path, tmp_path: Path, harm: str
) -> None:
    for path in checkpoint_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    gone = weights.pop("model.layers.1.mlp.up_proj.weight")
    if harm == "reshaped":
        weights["model.layers.1.mlp.up_proj.weight"] = gone[:-1].contiguous()
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match=r"lacks weights.*model\.layers\.1\.mlp\.up_proj\.weight"):
        load_network(tmp_path, "cpu", "float32")
