"""Attention block by block: the same numbers as the usual kind, only where it can be, and asked for by compiling."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from planned import WIDE
from test_architecture_allowed import logits

from forge_pipelines.manifest import Manifest
from forge_pipelines.store import Store
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.recipe import recipe_of
from forge_pipelines.training.worker.attention import attend_in_blocks
from forge_pipelines.training.worker.network import build_network


@pytest.fixture
def tokenizer(store: Store, shards: Manifest) -> Path:
    """The tokenizer folder of the small shards."""
    return store.open(shards) / "tokenizer"


def test_attention_in_blocks_gives_packed_documents_the_logits_that_they_have_alone(tokenizer: Path) -> None:
    usual, in_blocks = (build_network(WIDE, tokenizer, seed=0).eval() for _ in range(2))
    attend_in_blocks(in_blocks)
    assert in_blocks.config._attn_implementation == "flex_attention"
    first, second = torch.randint(3, 300, (2, 100), generator=torch.Generator().manual_seed(0))
    packed = logits(in_blocks, first, second)
    assert torch.allclose(packed, logits(usual, first, second), atol=1e-4)
    assert torch.allclose(packed[100:], logits(usual, second), atol=1e-4)


@pytest.mark.parametrize("changes", [{"hidden_size": 32}, {"head_dim": 256}, {"attention_dropout": 0.1}], ids=str)
def test_where_attention_cannot_be_worked_out_in_blocks_it_stays_as_it_is(
    tokenizer: Path, changes: dict[str, Any]
) -> None:
    network = build_network({**WIDE, **changes}, tokenizer, seed=0)
    attend_in_blocks(network)
    assert network.config._attn_implementation == "sdpa"


def test_a_recipe_that_does_not_say_is_compiled_on_gpus_in_bf16_but_for_pairs(
    recipe: Callable[..., TrainingConfig],
) -> None:
    pairs = {"objective": "dpo", "architecture": None}
    assert recipe_of(recipe(), None, None, "bf16", gains_by_compiling=True).compile
    assert not recipe_of(recipe(), None, None, "fp32", gains_by_compiling=True).compile
    assert not recipe_of(recipe(**pairs), None, None, "bf16", gains_by_compiling=True).compile
    assert not recipe_of(recipe(), None, None, "bf16", gains_by_compiling=False).compile
    assert not recipe_of(recipe(compile=False), None, None, "bf16", gains_by_compiling=True).compile
    assert recipe_of(recipe(compile=True), None, None, "fp32", gains_by_compiling=False).compile
