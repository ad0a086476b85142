"""Tiny models, and an endpoint that serves the first of them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving_client import Endpoint


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a Llama of 32 dimensions as `v1`, without a chat template as `v2`; its tokens are bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    root = tmp_path_factory.mktemp("models")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE(vocab={token: index for index, token in enumerate(["<eos>", *alphabet])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    saved = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    # No token ends an answer: how long each is stands in the request.
    config = LlamaConfig(vocab_size=257, max_position_embeddings=512, eos_token_id=None, bos_token_id=None, **sizes)
    LlamaForCausalLM(config).save_pretrained(root / "v2")
    saved.save_pretrained(root / "v2")
    shutil.copytree(root / "v2", root / "v1")
    saved.chat_template = (
        "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    saved.save_pretrained(root / "v1")
    return root


@pytest.fixture
def site(models: Path, tmp_path: Path) -> Path:
    """The models in a folder of the test's own, version 1 to be served."""
    root = tmp_path / "site"
    shutil.copytree(models, root)
    (root / "version").write_text("1")
    return root


@pytest.fixture(scope="module")
def endpoint(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Serves version 1 from a folder of an odd name; at most 8 requests wait."""
    root = tmp_path_factory.mktemp("site") / "hall@works:8"
    shutil.copytree(models, root)
    (root / "version").write_text("1")
    running = Endpoint(root, waiting=8)
    yield running
    running.process.terminate()
    assert running.process.wait(timeout=30) == 0
