"""Small shards, as the shards room writes them, and a recipe of seconds."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forge_pipelines.manifest import Classification, Manifest, StageRequest
from forge_pipelines.shards.config import TokenizerConfig
from forge_pipelines.shards.order import CorpusRange
from forge_pipelines.shards.packing import Packer
from forge_pipelines.shards.reading import CORPORA, DOCUMENTS, LAYOUT, SEQUENCES, SPANS, TOKENIZER, ShardsLayout
from forge_pipelines.shards.tokenizer import save_tokenizer, train_tokenizer
from forge_pipelines.store import Made, Store
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.ranks import TrainingEnvironment

SEQUENCE_LENGTH = 32
NUM_DOCUMENTS = 60
VOCABULARY = 300


def write_shards(folder: Path) -> int:
    """Write sixty documents of counted words, packed, and return how many sequences they fill."""
    texts = [" ".join(f"word{number * step % 97}" for number in range(30)) for step in range(1, NUM_DOCUMENTS + 1)]
    tokenizer = train_tokenizer(iter(texts), TokenizerConfig(vocabulary_size=VOCABULARY))
    save_tokenizer(tokenizer, folder / TOKENIZER, SEQUENCE_LENGTH)
    rows = []
    with Packer(folder / SEQUENCES, SEQUENCE_LENGTH, pad_id=0) as packer:
        for index, text in enumerate(texts):
            ids = np.array([1, *tokenizer.encode(text, add_special_tokens=False).ids, 2], dtype=np.int32)
            packer.add(index, ids)
            rows.append({"doc_index": index, "doc_id": hashlib.sha256(text.encode()).hexdigest()})
        packer.finish_sequence()
    packer.write_spans(folder / SPANS)
    pq.write_table(pa.Table.from_pylist(rows), folder / DOCUMENTS)
    corpus = CorpusRange(
        corpus="words", fingerprint="f" * 64, weight=1, first_sequence=0, num_sequences=packer.num_sequences
    )
    (folder / CORPORA).write_text(json.dumps([corpus.model_dump()]))
    layout = ShardsLayout(examples="texts", sequence_length=SEQUENCE_LENGTH)
    (folder / LAYOUT).write_text(layout.model_dump_json())
    return packer.num_sequences


def publish_shards(store: Store) -> Manifest:
    """Publish shards of 32-token sequences, labelled confidential."""
    request = StageRequest(kind="tokenized_shards", name="words", inputs={}, parameters={}, code_version="1")

    def make(folder: Path) -> Made:
        counts = {"sequences": write_shards(folder), "sequence_length": SEQUENCE_LENGTH, "vocabulary": VOCABULARY}
        return Made(counts, Classification.CONFIDENTIAL)

    return store.obtain(request, make).manifest


@pytest.fixture(scope="session")
def publish() -> Callable[[Store], Manifest]:
    """The function `publish_shards`."""
    return publish_shards


@pytest.fixture
def shards(store: Store) -> Manifest:
    """Published shards."""
    return publish_shards(store)


@pytest.fixture
def environment(tmp_path: Path, forge_cache: Path) -> TrainingEnvironment:
    """No GPU, and logs in the test's own folder."""
    return TrainingEnvironment(cache_folder=forge_cache, log_folder=tmp_path / "logs")


LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def make_recipe(**changes: Any) -> TrainingConfig:
    """Return a recipe of two ranks and a few steps, and what the arguments say."""
    usual = {
        "architecture": LLAMA,
        "steps": 3,
        "batch_sequences": 4,
        "warmup_steps": 0,
        "learning_rate": 1e-3,
        "precision": "fp32",
        "gpus": {"count": 2},
    }
    return TrainingConfig.model_validate({**usual, **changes})


@pytest.fixture(scope="session")
def recipe() -> Callable[..., TrainingConfig]:
    """The function `make_recipe`."""
    return make_recipe


_TRAIN = """
import json, sys
from pathlib import Path
from forge_pipelines.store import Store
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.stage import train

root, cache, recipe = Path(sys.argv[1]), Path(sys.argv[2]), TrainingConfig.model_validate_json(sys.argv[3])
store = Store(str(root / "store"), root / "scratch")
environment = TrainingEnvironment(cache, root / "logs")
show = lambda progress: print(json.dumps([progress.done, progress.message]), flush=True)
publication = train("tiny", store.latest("words", "tokenized_shards"), recipe, store, environment, show)
print(json.dumps(["fresh", publication.fresh]), flush=True)
"""


@pytest.fixture(scope="session")
def start_training(forge_cache: Path) -> Callable[[Path, TrainingConfig], subprocess.Popen[str]]:
    """A function that trains in a process of its own, which prints a JSON list for each report."""

    def start(root: Path, recipe: TrainingConfig) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _TRAIN, str(root), str(forge_cache), recipe.model_dump_json()]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    return start
