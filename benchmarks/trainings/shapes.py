"""What is trained on: a network of 6.5 million parameters, one with a gigabyte of state, and packed real documents."""

import hashlib
import json
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forge_pipelines.manifest import Classification, Manifest, StageRequest
from forge_pipelines.shards.config import TokenizerConfig
from forge_pipelines.shards.order import CorpusRange
from forge_pipelines.shards.packing import Packer
from forge_pipelines.shards.reading import (
    CORPORA,
    DOCUMENTS,
    LAYOUT,
    SEQUENCES,
    SPANS,
    STAGE,
    TOKENIZER,
    Shards,
    ShardsLayout,
    open_shards,
)
from forge_pipelines.shards.tokenizer import save_tokenizer, train_tokenizer
from forge_pipelines.store import Made, Store
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.recipe import Recipe, settle

VOCABULARY, SEQUENCE_LENGTH = 8192, 512
NUM_SEQUENCES, MOST_CHARACTERS = 1000, 20_000
SMALL = {
    "model_type": "mistral",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "sliding_window": None,
}
"""6.55 million parameters with that vocabulary."""
LARGE = {
    **SMALL,
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 4,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
}
"""64 million parameters: of each, weight, master weight and two moments are 16 bytes, a gigabyte in all."""


def recipe(**changes: Any) -> TrainingConfig:
    """Return the recipe that all sides follow, and what the arguments say."""
    usual = {
        "architecture": SMALL,
        "steps": 60,
        "batch_sequences": 8,
        "learning_rate": 1e-3,
        "warmup_steps": 5,
        "precision": "fp32",
        "checkpoint_every_steps": 30,
        "gpus": {"count": 0},
    }
    return TrainingConfig.model_validate({**usual, **changes})


def store_in(work: Path) -> Store:
    """Return the store of a folder."""
    return Store(str(work / "store"), work / "scratch")


def shards_in(work: Path) -> Manifest:
    """Return the shards of a folder, which are made first where they are missing."""
    request = StageRequest(kind=STAGE, name="sources", inputs={}, parameters={}, code_version="1")
    return store_in(work).obtain(request, _write).manifest


def opened(work: Path, config: TrainingConfig) -> tuple[Shards, Recipe]:
    """Return shards, and a recipe settled for them, for a side that is not Forge's."""
    shards = shards_in(work)
    return open_shards(store_in(work).open(shards)), settle(config, shards)


def _write(folder: Path) -> Made:
    """Pack the sources of Python's own library, a file a document."""
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    texts = [path.read_text(errors="replace")[:MOST_CHARACTERS] for path in paths]
    tokenizer = train_tokenizer(iter(texts), TokenizerConfig(vocabulary_size=VOCABULARY))
    save_tokenizer(tokenizer, folder / TOKENIZER, SEQUENCE_LENGTH)
    rows = []
    with Packer(folder / SEQUENCES, SEQUENCE_LENGTH, pad_id=0) as packer:
        for index, text in enumerate(texts):
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            packer.add(index, np.array([1, *ids, 2], dtype=np.int32))
            rows.append({"doc_index": index, "doc_id": hashlib.sha256(text.encode()).hexdigest()})
            if packer.num_sequences >= NUM_SEQUENCES:
                break
        packer.finish_sequence()
    packer.write_spans(folder / SPANS)
    pq.write_table(pa.Table.from_pylist(rows), folder / DOCUMENTS)
    number = packer.num_sequences
    corpus = CorpusRange(corpus="sources", fingerprint="f" * 64, weight=1, first_sequence=0, num_sequences=number)
    (folder / CORPORA).write_text(json.dumps([corpus.model_dump()]))
    layout = ShardsLayout(examples="texts", sequence_length=SEQUENCE_LENGTH)
    (folder / LAYOUT).write_text(layout.model_dump_json())
    counts = {"sequences": number, "sequence_length": SEQUENCE_LENGTH, "vocabulary": tokenizer.get_vocab_size()}
    return Made(counts, Classification.PUBLIC)
