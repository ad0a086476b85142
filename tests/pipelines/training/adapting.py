"""Small bases, and shards of chats and of pairs for them, as the shards room writes them."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from forge_pipelines.manifest import Classification, Manifest, StageRequest
from forge_pipelines.shards.config import Examples, TokenizerConfig
from forge_pipelines.shards.order import CorpusRange
from forge_pipelines.shards.packing import write_spans
from forge_pipelines.shards.reading import CORPORA, DOCUMENTS, LAYOUT, SEQUENCES, SPANS, TOKENIZER, ShardsLayout
from forge_pipelines.shards.tokenizer import save_tokenizer, train_tokenizer
from forge_pipelines.store import Made, Store
from forge_pipelines.training.config import TrainingConfig

LENGTH = 24
VOCABULARY = 300
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
FIRST_WORD = 3
"""The ids before it are special tokens."""


def publish_base(store: Store, **changes: Any) -> Manifest:
    """Publish an untrained Llama in fp32 as a base."""
    request = StageRequest(kind="base_model", name="small", inputs={}, parameters=changes, code_version="1")

    def make(folder: Path) -> Made:
        torch.manual_seed(0)
        sizes = {**SIZES, "vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **changes}
        AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **sizes)).save_pretrained(folder)
        return Made({}, Classification.PUBLIC)

    return store.obtain(request, make).manifest


def publish_rows(store: Store, base: Manifest, examples: Examples, columns: dict[str, Any]) -> Manifest:
    """Publish shards for a base whose sequences have these columns."""
    inputs = {f"base:{base.name}": base.fingerprint}
    request = StageRequest(kind="tokenized_shards", name=examples, inputs=inputs, parameters={}, code_version="1")

    def make(folder: Path) -> Made:
        texts = iter([f"word{number}" for number in range(200)])
        tokenizer = train_tokenizer(texts, TokenizerConfig(vocabulary_size=VOCABULARY))
        save_tokenizer(tokenizer, folder / TOKENIZER, LENGTH)
        table = pa.table(columns)
        with pa.ipc.new_stream(str(folder / SEQUENCES), table.schema) as writer:
            writer.write_table(table)
        write_spans([(row, row, 0, LENGTH) for row in range(table.num_rows)], folder / SPANS)
        documents = {"doc_id": [f"{row:064x}" for row in range(table.num_rows)]}
        pq.write_table(pa.table(documents), folder / DOCUMENTS)
        corpus = CorpusRange(
            corpus="words", fingerprint="f" * 64, weight=1, first_sequence=0, num_sequences=table.num_rows
        )
        (folder / CORPORA).write_text(json.dumps([corpus.model_dump()]))
        layout = ShardsLayout(examples=examples, sequence_length=LENGTH)
        (folder / LAYOUT).write_text(layout.model_dump_json())
        counts = {"sequences": table.num_rows, "sequence_length": LENGTH, "vocabulary": VOCABULARY}
        return Made(counts, Classification.PUBLIC)

    return store.obtain(request, make).manifest


def publish_chats(store: Store, base: Manifest, examples: Examples = "chats") -> Manifest:
    """Publish chats: two in a sequence, each a question of random words and an answer that its first word decides."""
    rng = np.random.default_rng(0)
    questions_NQ = rng.integers(FIRST_WORD, VOCABULARY, (64, 2, LENGTH // 4))  # noqa: N806 - the shape
    answers_NQ = np.array([answer_to(question) for question in questions_NQ.reshape(-1, LENGTH // 4)])  # noqa: N806
    ids = np.concatenate([questions_NQ, answers_NQ.reshape(questions_NQ.shape)], axis=2)
    labels = np.concatenate([np.full_like(questions_NQ, -100), answers_NQ.reshape(questions_NQ.shape)], axis=2)
    positions = np.broadcast_to(np.arange(LENGTH // 2), ids.shape)
    columns = {"input_ids": ids, "position_ids": positions, "labels": labels}
    flat = {name: pa.array(values.astype(np.int32).reshape(-1)) for name, values in columns.items()}
    rows = {name: pa.FixedSizeListArray.from_arrays(values, LENGTH) for name, values in flat.items()}
    return publish_rows(store, base, examples, rows)


def answer_to(question: Sequence[int]) -> list[int]:
    """Return the right answer: as many words, counted up from one of ten that the question's first word decides."""
    return [FIRST_WORD + int(question[0]) % 10 + place for place in range(len(question))]


def publish_pairs(store: Store, base: Manifest) -> Manifest:
    """Publish pairs of several lengths: the better answer repeats its prompt's first word, the worse one is random."""
    rng = np.random.default_rng(1)
    rows = []
    for number in range(40):
        prompt = rng.integers(FIRST_WORD, VOCABULARY, 3 + number % 5).tolist()
        worse = rng.integers(FIRST_WORD, VOCABULARY, 2 + number % 4).tolist()
        rows.append({"prompt_ids": prompt, "chosen_ids": [prompt[0]] * (2 + number % 3), "rejected_ids": worse})
    column = pa.list_(pa.int32())
    return publish_rows(
        store, base, "preferences", {name: pa.array([row[name] for row in rows], column) for name in rows[0]}
    )


def one_rank(**changes: Any) -> TrainingConfig:
    """Return a recipe that goes on from a base, with one rank and a few steps."""
    usual = {
        "steps": 6,
        "batch_sequences": 4,
        "warmup_steps": 0,
        "learning_rate": 1e-2,
        "precision": "fp32",
        "schedule": "constant",
        "weight_decay": 0,
        "gpus": {"count": 0},
    }
    return TrainingConfig.model_validate({**usual, **changes})


_TRAIN = """
import os, signal, sys
from pathlib import Path
from forge_pipelines.store import Store
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.stage import train

root, cache, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
store = Store(str(root / "store"), root / "scratch")
recipe = TrainingConfig.model_validate_json(sys.argv[4])
step = int(sys.argv[5])
kill = lambda progress: progress.done >= step and os.kill(os.getpid(), signal.SIGKILL)
train("tiny", store.latest(name, "tokenized_shards"), recipe, store, TrainingEnvironment(cache, root / "logs"), kill)
"""


def train_until_killed(root: Path, cache: Path, shards: Manifest, recipe: TrainingConfig, step: int) -> None:
    """Train in a process of its own, in the store below ``root``, which is killed once a step is done."""
    arguments = [str(root), str(cache), shards.name, recipe.model_dump_json(), str(step)]
    assert subprocess.run([sys.executable, "-c", _TRAIN, *arguments], check=False).returncode == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while any((each.info["cmdline"] or [""])[-1].startswith(str(root)) for each in psutil.process_iter(["cmdline"])):
        assert time.monotonic() < deadline, "a rank outlived the process that ran it"
        time.sleep(0.05)
