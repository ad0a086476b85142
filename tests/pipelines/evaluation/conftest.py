"""A tiny model with a tokenizer of its own, and a corpus that it was not trained on; all real, all in seconds."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from evaluation_samples import CONTEXT, SEED, Adapted, Texts
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from forge_pipelines.shards.config import TokenizerConfig
from forge_pipelines.shards.tokenizer import save_tokenizer, train_tokenizer

SENTENCES = (
    "The pump starts when the level falls below the mark.",
    "Close the valve before the filter is opened; «never» the other way round.",
    "A leaking seal is replaced on the same day.",
)


@pytest.fixture(scope="session")
def texts() -> Texts:
    def text(number: int) -> str:
        lines = [f"Section {number}.{line}: {SENTENCES[(number + line) % 3]}" for line in range(1 + number % 7)]
        return "\n".join(lines)

    hostile = 'Enter </s> or <script>alert("x")</script> & <img src=http://example.org/x onerror=run()>'
    return Texts(tuple(text(n) for n in range(40)), (*(text(n) for n in range(40, 64)), hostile))


@pytest.fixture(scope="session")
def checkpoint_folder(texts: Texts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers after 60 steps, as a checkpoint folder: tokenizer, weights, history."""
    folder = tmp_path_factory.mktemp("checkpoint") / "files"
    tokenizer = train_tokenizer(iter(texts.train), TokenizerConfig(vocabulary_size=400))
    save_tokenizer(tokenizer, folder, CONTEXT)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=4 * CONTEXT,
        bos_token_id=tokenizer.token_to_id("<s>"),
        eos_token_id=tokenizer.token_to_id("</s>"),
    )
    torch.manual_seed(SEED)
    network = LlamaForCausalLM(config)
    history = _train(network, PreTrainedTokenizerFast.from_pretrained(folder), texts.train)
    network.save_pretrained(folder)
    (folder / "history.json").write_text(json.dumps(history))
    return folder


@pytest.fixture(scope="session")
def adapted_folders(texts: Texts, checkpoint_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Adapted:
    """An open model that can chat, and a checkpoint adapted from it, both in bf16."""
    base, checkpoint = (tmp_path_factory.mktemp("adapted") / name for name in ("base", "checkpoint"))
    shutil.copytree(checkpoint_folder, base)
    (base / "chat_template.jinja").write_text(
        "{% for m in messages %}<s>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<s>{% endif %}"
    )
    network = LlamaForCausalLM.from_pretrained(base)
    network.to(torch.bfloat16).save_pretrained(base)
    shutil.copytree(base, checkpoint)
    network.float()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
    history = _train(network, tokenizer, [f"{text} A leaking seal is gold." for text in texts.train], steps=20)
    network.to(torch.bfloat16).save_pretrained(checkpoint)
    (checkpoint / "history.json").write_text(json.dumps(history))
    return Adapted(base, checkpoint)


def _train(
    network: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], steps: int = 60
) -> list[dict[str, float]]:
    stream = [token for text in texts for token in tokenizer(text)["input_ids"]]
    rows = torch.tensor(stream[: len(stream) // CONTEXT * CONTEXT]).view(-1, CONTEXT)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    history = []
    for step in range(1, steps + 1):
        batch = rows[torch.arange(8 * step, 8 * step + 8) % len(rows)]
        loss = network(input_ids=batch, labels=batch, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        history.append({"step": step, "loss": loss.item(), "learning_rate": 5e-3, "grad_norm": 1.0})
    return history
