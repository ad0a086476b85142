"""A model that adapts a base has the base's tokenizer and begins with the base's weights."""

from pathlib import Path

import pytest
import torch
from open_models import TEXTS, hand_over
from safetensors.torch import load_file

from forge_pipelines.bases.config import BaseConfig
from forge_pipelines.bases.stage import base_of, import_base
from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.stage import validate
from forge_pipelines.errors import ConfigError
from forge_pipelines.manifest import Classification, Manifest
from forge_pipelines.shards.config import ShardsConfig
from forge_pipelines.shards.stage import shard
from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.sources.stage import read_source
from forge_pipelines.store import Store
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.stage import train


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One store for all: the base is brought in once."""
    root = tmp_path_factory.mktemp("adapting")
    return Store(str(root / "store"), root / "scratch")


@pytest.fixture(scope="module")
def base(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A small Llama, brought in as confidential."""
    folder = tmp_path_factory.mktemp("base")
    handed = hand_over(folder / "handed")
    config = {"name": "llama", "place": str(handed), "licence": "MIT", "classification": "confidential"}
    return import_base(BaseConfig.model_validate(config), store, folder / "log").manifest


@pytest.fixture(scope="module")
def corpus(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A corpus of public sentences."""
    documents = tmp_path_factory.mktemp("documents")
    for number, text in enumerate(TEXTS):
        (documents / f"{number:03d}.txt").write_text(f"{number}. {text} " * 4)
    labels = {"licence": "MIT", "classification": "public"}
    source = {"name": "boats", "folder": {"path": str(documents)}, "labels": labels}
    read = read_source(SourceConfig.model_validate(source), store).manifest
    config = {"name": "harbour", "sources": ["boats"], "length": {"min_characters": 10}}
    return validate(CorpusConfig.model_validate(config), [read], store).manifest


def pack(corpus: Manifest, store: Store, base: Manifest | None, length: int = 64) -> Manifest:
    tokenizer = {} if base else {"tokenizer": {"vocabulary_size": 300}}
    config = {"corpora": [{"corpus": "harbour"}], "sequence_length": length, **tokenizer}
    return shard("pilot", {"harbour": corpus}, ShardsConfig.model_validate(config), store, base=base).manifest


def recipe(**changes: object) -> TrainingConfig:
    usual = {"steps": 2, "batch_sequences": 2, "warmup_steps": 0, "precision": "bf16", "weight_decay": 0}
    return TrainingConfig.model_validate({**usual, **changes})


def test_training_begins_with_the_weights_of_the_base(
    base: Manifest, corpus: Manifest, store: Store, tmp_path: Path, forge_cache: Path
) -> None:
    shards = pack(corpus, store, base)
    environment = TrainingEnvironment(forge_cache, tmp_path / "logs")
    still = train("pilot", shards, recipe(learning_rate=1e-12), store, environment).manifest
    moved = train("pilot", shards, recipe(learning_rate=1e-2), store, environment).manifest
    before, same, other = (load_file(store.open(each) / "model.safetensors") for each in (base, still, moved))
    assert all(torch.equal(same[name], weights) for name, weights in before.items())
    assert not all(torch.equal(other[name], weights) for name, weights in before.items())
    found = base_of(moved, store)
    assert found is not None
    assert found.fingerprint == base.fingerprint


def test_the_strictest_label_of_base_and_documents_goes_on(base: Manifest, corpus: Manifest, store: Store) -> None:
    assert corpus.classification == Classification.PUBLIC
    assert pack(corpus, store, base).classification == Classification.CONFIDENTIAL


def test_another_base_means_other_shards(base: Manifest, corpus: Manifest, store: Store) -> None:
    assert pack(corpus, store, base).key != pack(corpus, store, None).key


def test_a_recipe_without_architecture_needs_a_base(
    corpus: Manifest, store: Store, tmp_path: Path, forge_cache: Path
) -> None:
    shards = pack(corpus, store, None)
    with pytest.raises(ConfigError, match=r"pilot has neither training\.architecture nor a base"):
        train("pilot", shards, recipe(), store, TrainingEnvironment(forge_cache, tmp_path / "logs"))


def test_sequences_longer_than_the_base_sees_are_refused(
    base: Manifest, corpus: Manifest, store: Store, tmp_path: Path, forge_cache: Path
) -> None:
    shards = pack(corpus, store, base, length=256)
    with pytest.raises(ConfigError, match=r"sequences of 256 tokens are longer .*128.*lower shards\.sequence_length"):
        train("pilot", shards, recipe(), store, TrainingEnvironment(forge_cache, tmp_path / "logs"))
