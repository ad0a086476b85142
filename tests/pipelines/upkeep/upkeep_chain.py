"""A model with many versions in a real MLflow, made cheaply; as a program it collects garbage and is killed in it."""

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from forge_pipelines.evaluation.report import BITS_PER_CHARACTER
from forge_pipelines.manifest import Classification, Manifest, StageRequest
from forge_pipelines.registry.config import RegistrationConfig
from forge_pipelines.registry.stage import register
from forge_pipelines.registry.tracking import Tracking
from forge_pipelines.store import Made, Store
from forge_pipelines.upkeep.garbage import Running, find_garbage, remove_garbage

LABELS = {"licence": "Apache-2.0", "classification": "internal", "owner": "docs", "purpose": "support"}
METRIC = {
    "value": 2.0,
    "interval": (1.9, 2.1),
    "base": 6.0,
    "difference": -4.0,
    "difference_interval": (-4.1, -3.9),
    "references": {"xz": 2.9},
    "direction": "lower",
    "unit": "bits/character",
    "description": "",
}


def publish(store: Store, name: str, kind: str, inputs: Mapping[str, str], files: Mapping[str, str]) -> Manifest:
    parameters: dict[str, Any] = {"labels": LABELS, "files": dict(files)}
    request = StageRequest(kind=kind, name=name, inputs=inputs, parameters=parameters, code_version="test")

    def make(folder: Path) -> Made:
        for path, content in files.items():
            (folder / path).write_text(content)
        return Made(counts={"documents": 3}, classification=Classification.INTERNAL)

    return store.obtain(request, make).manifest


def make_version(store: Store, tracking: Tracking, model: str, number: int) -> Manifest:
    """Publish a chain that shares nothing with those of other numbers, and register it."""
    source = publish(store, f"{model}_notes", "raw_documents", {}, {"documents.txt": f"{model} {number}"})
    corpus = publish(store, f"{model}_prose", "validated_corpus", {source.name: source.fingerprint}, {"train.txt": "t"})
    inputs = {f"corpus:{corpus.name}": corpus.fingerprint}
    shards = publish(store, model, "tokenized_shards", inputs, {"shards.arrow": "s"})
    checkpoint_files = {
        "model.safetensors": "weights",
        "tokenizer.json": "{}",
        "history.json": '[{"step": 1, "loss": 2}]',
    }
    checkpoint = publish(store, model, "trained_checkpoint", {"shards": shards.fingerprint}, checkpoint_files)
    report = {
        "model": model,
        "checkpoint": checkpoint.fingerprint,
        "metrics": {BITS_PER_CHARACTER: METRIC},
        "documents": 20,
        "characters": 9000,
        "settings": {},
    }
    measured = publish(
        store,
        model,
        "evaluation_report",
        {"checkpoint": checkpoint.fingerprint, **inputs},
        {"report.json": json.dumps(report)},
    )
    return register(model, measured, RegistrationConfig(), store, tracking).manifest


def collect(store: Store, tracking: Tracking, on_removed: Callable[[Any], None] = lambda _: None) -> None:
    """Collect garbage as on a machine where nothing runs, all of it old."""
    garbage = find_garbage(store, tracking, Running, keep_versions=3, keep_days=0)
    remove_garbage(garbage, store, tracking, Running, on_removed)


def main(address: str, scratch: str, database_url: str, artifacts: str, removals: int) -> None:
    """Collect garbage until so many parts are removed, and be killed."""
    removed: list[Any] = []

    def count(part: Any) -> None:
        removed.append(part)
        if len(removed) == removals:
            os.kill(os.getpid(), signal.SIGKILL)

    collect(Store(address, Path(scratch)), Tracking(database_url, artifacts), count)


if __name__ == "__main__":
    main(*sys.argv[1:5], removals=int(sys.argv[5]))
