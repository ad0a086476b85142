"""Which networks a recipe may describe, and that each of them keeps packed documents apart."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import PreTrainedModel

from forge_pipelines.bases.architecture import FAMILIES
from forge_pipelines.errors import ConfigError
from forge_pipelines.manifest import Manifest
from forge_pipelines.store import Store
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.worker.network import build_network, no_network

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.fixture
def tokenizer(store: Store, shards: Manifest) -> Path:
    """The tokenizer folder of the small shards."""
    return store.open(shards) / "tokenizer"


@pytest.mark.parametrize(
    ("architecture", "named"),
    [
        ({"auto_map": {"AutoConfig": "evil.Config"}}, "auto_map"),
        ({"trust_remote_code": True}, "trust_remote_code"),
        ({"_attn_implementation_internal": "kernels/evil"}, "_attn_implementation_internal"),
        ({"rope_parameters": {"rope_type": "default", "auto_map": "evil"}}, "rope_parameters"),
        ({"hidden_size": {"auto_map": "evil"}}, "hidden_size"),
        ({"vocab_size": 1000}, "vocab_size"),
        ({"model_type": "falcon"}, "falcon"),
        ({"model_type": ["llama"]}, "model_type"),
    ],
)
def test_a_configuration_outside_the_allow_list_is_refused_by_name(architecture: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        TrainingConfig.model_validate({"architecture": {"model_type": "llama", **SIZES, **architecture}, "steps": 1})


@pytest.mark.parametrize(("sizes", "named"), [({"hidden_size": 33}, "33"), ({"num_key_value_heads": 3}, "3")])
def test_sizes_that_give_no_network_are_refused_in_one_sentence(
    sizes: dict[str, int], named: str, tokenizer: Path
) -> None:
    with pytest.raises(ConfigError, match=rf"training\.architecture gives no network: .*\({named}\)"):
        build_network({"model_type": "llama", **SIZES, **sizes}, tokenizer, seed=0)
    assert str(no_network(RuntimeError())) == "training.architecture gives no network: it is empty"


def test_the_first_weights_are_a_function_of_the_seed(tokenizer: Path) -> None:
    first, again, other = (build_network({"model_type": "llama", **SIZES}, tokenizer, seed) for seed in (1, 1, 2))
    assert all(torch.equal(*pair) for pair in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_allowed_family_keeps_packed_documents_apart(family: str, tokenizer: Path) -> None:
    groups = {} if family == "gpt_neox" else {"num_key_value_heads": 2}
    network = build_network({"model_type": family, **SIZES, **groups}, tokenizer, seed=0).eval()
    one, other, second = torch.randint(3, 300, (3, 8), generator=torch.Generator().manual_seed(0))
    after_one, after_other = logits(network, one, second)[8:], logits(network, other, second)[8:]
    # An expert multiplies the tokens that chose it together, so their number shows in the last bits.
    assert torch.allclose(after_one, after_other, atol=1e-6 if family == "mixtral" else 0, rtol=0)
    assert torch.allclose(after_one, logits(network, second), atol=1e-4)


def logits(network: PreTrainedModel, *documents: torch.Tensor) -> torch.Tensor:
    """Logits of documents packed into one sequence, shape (T, V)."""
    ids = torch.cat(documents)[None]
    positions = torch.cat([torch.arange(len(document)) for document in documents])[None]
    with torch.no_grad():
        result: torch.Tensor = network(input_ids=ids, position_ids=positions, use_cache=False).logits[0]
    return result
