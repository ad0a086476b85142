"""A published chain for tests of registration: what the other rooms would have made."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from forge_pipelines.evaluation.report import BITS_PER_CHARACTER
from forge_pipelines.manifest import Classification, Manifest, StageRequest
from forge_pipelines.store import Made, Store


class Chain:
    """Publishes the stages upstream of a registration, as the other rooms would."""

    def __init__(self, store: Store, weights: Path, model: str) -> None:
        self.store = store
        self.weights = weights
        self.model = model

    def report(self, *, value: float = 2.31, difference: tuple[float, float] = (-4.2, -4.02)) -> Manifest:
        labels = {"licence": "Apache-2.0", "classification": "internal", "owner": "docs", "purpose": "support"}
        source = self.publish(
            "handbook", "raw_documents", {"listing": "l" * 64}, {"labels": labels}, _text("documents")
        )
        made_from = {"handbook": source.fingerprint, "heldout:exams": "e" * 64}
        corpus = self.publish("prose", "validated_corpus", made_from, {}, _text("corpus"))
        inputs = {"corpus:prose": corpus.fingerprint}
        shards = self.publish(self.model, "tokenized_shards", inputs, {"sequence_length": 64}, _text("shards"))
        recipe = {"architecture": {"model_type": "llama", "hidden_size": 32}, "steps": 10}
        self.checkpoint = self.publish(
            self.model, "trained_checkpoint", {"shards": shards.fingerprint}, recipe, self._copy_weights
        )
        contents = _report(self.model, self.checkpoint.fingerprint, value, difference)
        return self.publish(
            self.model,
            "evaluation_report",
            {"checkpoint": self.checkpoint.fingerprint, **inputs},
            {"value": value},
            lambda folder: (folder / "report.json").write_text(json.dumps(contents)),
        )

    def publish(
        self,
        name: str,
        kind: str,
        inputs: Mapping[str, str],
        parameters: Mapping[str, Any],
        write: Callable[[Path], Any],
    ) -> Manifest:
        request = StageRequest(kind=kind, name=name, inputs=inputs, parameters=parameters, code_version="test")

        def make(folder: Path) -> Made:
            write(folder)
            return Made(counts={"documents": 3}, classification=Classification.INTERNAL)

        return self.store.obtain(request, make).manifest

    def _copy_weights(self, folder: Path) -> None:
        for path in self.weights.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        history = [{"step": step, "loss": 9.0 - step} for step in range(1, 4)]
        (folder / "history.json").write_text(json.dumps(history))


def _text(content: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / "content.txt").write_text(content)


def _report(model: str, checkpoint: str, value: float, difference: tuple[float, float]) -> Mapping[str, Any]:
    metric = {
        "value": value,
        "interval": (value - 0.1, value + 0.1),
        "base": 6.42,
        "difference": sum(difference) / 2,
        "difference_interval": difference,
        "references": {"xz": 2.9},
        "direction": "lower",
        "unit": "bits/character",
        "description": "",
    }
    numbers = {"documents": 20, "characters": 9000, "settings": {}}
    return {"model": model, "checkpoint": checkpoint, "metrics": {BITS_PER_CHARACTER: metric}, **numbers}
