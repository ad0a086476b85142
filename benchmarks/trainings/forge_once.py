"""Forge's side: the stage `train`, from published shards to a published checkpoint.

`forge_once.py WORK CACHE CHANGES`; prints its figures as JSON.
"""

import json
import sys
import time
from pathlib import Path

from shapes import recipe, shards_in, store_in

from forge_pipelines.progress import Progress
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.stage import train


def main(work: Path, cache: Path, changes: dict[str, object]) -> None:
    shards, store, config = shards_in(work), store_in(work), recipe(**changes)
    name, told = f"forge_{time.time_ns()}", []

    def listen(progress: Progress) -> None:
        if progress.metrics:
            told.append((progress.done, time.monotonic()))

    started = time.monotonic()
    made = train(name, shards, config, store, TrainingEnvironment(cache, work / "logs"), listen).manifest
    seconds = time.monotonic() - started
    figures = {
        "tokens_per_second": made.measured["tokens_per_second"],
        "seconds": seconds,
        "cpu_seconds": made.measured["cpu_seconds"],
        "loss": made.counts["final_loss"],
        "parameters": made.counts["parameters"],
        "precision": made.parameters["precision"],
        "times": told,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
