"""Shapes, layouts and published things that plans are made of."""

import json
from pathlib import Path
from typing import Any

from forge_pipelines.bases.stage import KIND
from forge_pipelines.manifest import Classification, Manifest, StageRequest
from forge_pipelines.shards.config import ShardsConfig
from forge_pipelines.store import Made, Store
from forge_pipelines.training.cards import Card, card_named
from forge_pipelines.training.memory import Layout
from forge_pipelines.training.remedies import Machine
from forge_pipelines.training.sizing import NetworkShape
from forge_pipelines.training.speed import cpu_name

MIDDLING = {
    "model_type": "llama",
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
}
"""A network of 18 million parameters."""

WIDE = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
"""A small network whose heads, 16 wide, are wide enough for attention block by block."""

MISTRAL_7B = NetworkShape(
    model_type="mistral",
    parameters=7_241_732_096,
    adapter=41_943_040,
    looked_up=131_072_000,
    idle=0,
    layers=32,
    hidden=4096,
    queries=4096,
    keys=1024,
    mlp=14336,
    experts=0,
    vocabulary=32000,
    window=131072,
    has_blocks=True,
)

CPU = Machine(cpu_name(), 1 << 40, None, here=True)


def layout(**changes: Any) -> Layout:
    usual = {"number_bytes": 2, "zero_stage": 1, "ranks": 1, "micro_batch": 4, "sequence_length": 4096}
    return Layout.model_validate({**usual, **changes})


def gpu(gib: float) -> Machine:
    card = Card("a GPU", int(gib * (1 << 30)), 100, 10)
    return Machine(card.name, card.memory_bytes, card, here=False)


def card(name: str) -> Machine:
    known = card_named(name)
    return Machine(known.name, known.memory_bytes, known, here=False)


def shards_config(**changes: Any) -> ShardsConfig:
    usual = {"corpora": [{"corpus": "words"}], "tokenizer": {"vocabulary_size": 300}, "sequence_length": 32}
    return ShardsConfig.model_validate({**usual, **changes})


def publish_base_without_weights(store: Store, architecture: dict[str, Any]) -> Manifest:
    """Publish a base, and then remove its weights."""
    request = StageRequest(kind=KIND, name="open_one", inputs={}, parameters={}, code_version="1")

    def make(folder: Path) -> Made:
        (folder / "config.json").write_text(json.dumps(architecture))
        (folder / "model.safetensors").write_bytes(b"weights")
        return Made({}, Classification.PUBLIC)

    manifest = store.obtain(request, make).manifest
    (store.open(manifest) / "model.safetensors").unlink()
    return manifest


def publish_corpus(store: Store, characters: int, train: int, heldout: int) -> Manifest:
    request = StageRequest(kind="validated_corpus", name="words", inputs={}, parameters={}, code_version="1")
    counts = {"characters": characters, "train": train, "heldout": heldout}
    return store.obtain(request, lambda _: Made(counts, Classification.PUBLIC)).manifest
