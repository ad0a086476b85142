"""What is written down of a finished training: the record beside its weights, its counts, and what was measured."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forge_pipelines.training.job import Finished, versions
from forge_pipelines.training.recipe import Recipe
from forge_pipelines.training.usage import read_usage
from forge_pipelines.training.workspace import Workspace

RECORD = "training.json"
"""The published file that says what was consumed, and by which libraries."""


def write_record(folder: Path, recipe: Recipe, skipped: tuple[int, ...], finished: Finished) -> None:
    """Write `RECORD` into a folder."""
    record = {
        "samples": [0, (recipe.steps + len(skipped)) * recipe.batch_sequences],
        "skipped_batches": [*skipped],
        "tokens_trained": finished.tokens_trained,
        "libraries": dict(versions()),
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")


def counts_of(recipe: Recipe, skipped: tuple[int, ...], finished: Finished) -> Mapping[str, Any]:
    """Return what the manifest counts."""
    return {
        "steps": recipe.steps,
        "skipped_batches": [*skipped],
        "parameters": finished.parameters,
        "trained_parameters": finished.trained_parameters,
        "tokens_trained": finished.tokens_trained,
        "final_loss": finished.final_loss,
    }


def measured_of(recipe: Recipe, workspace: Workspace, finished: Finished, device: str) -> Mapping[str, Any]:
    """Return what was measured; ``world_sizes`` are the numbers of ranks of all launches, in their order."""
    return {
        "tokens_per_second": round(finished.tokens_per_second, 1),
        "wall_seconds": round(finished.wall_seconds, 3),
        **finished.model_dump(include={"mfu", "gpu_memory_bytes"}, exclude_none=True),
        **read_usage(workspace.folder).in_words,
        "device": device,
        "devices": list(finished.devices),
        "micro_batch_sequences": recipe.micro_batch_sequences or recipe.batch_sequences // recipe.ranks,
        "world_size": recipe.ranks,
        "world_sizes": workspace.launches,
        "restarts": len(workspace.launches) - 1,
    }
