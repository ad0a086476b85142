"""What stands in the folder of an unfinished training: its checkpoints, what it skips and chose, its launches."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forge_pipelines.training.checkpoints import complete_in, step_of

_CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, slots=True)
class Workspace:
    """Unfinished work on one training; it outlives every call of the stage until the result is published."""

    folder: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints; it may not exist yet."""
        return self.folder / _CHECKPOINTS

    @property
    def converted(self) -> Path:
        """The folder of a checkpoint that was converted for another number of ranks; it may not exist."""
        return self.folder / "converted"

    @property
    def rendezvous(self) -> Path:
        """The folder by whose files the ranks find each other."""
        return self.folder / "rendezvous"

    @property
    def skipped(self) -> tuple[int, ...]:
        """The batches that no step consumes, in the order in which they came to be skipped; see `batches`."""
        return tuple(self._read("skipped.json", []))

    def skip(self, batches: Iterable[int]) -> None:
        """Note that some more batches are skipped from now on."""
        self._write("skipped.json", [*self.skipped, *batches])

    @property
    def launches(self) -> list[int]:
        """How many ranks each launch had, the first one first."""
        return list(self._read("launches.json", []))

    def count_launch(self, world_size: int) -> None:
        """Note a launch."""
        self._write("launches.json", [*self.launches, world_size])

    @property
    def micro_batch(self) -> int | None:
        """The micro-batch that this training began with, where it was chosen; see `fitting`."""
        chosen: int | None = self._read("micro_batch.json", None)
        return chosen

    def begin_with(self, micro_batch: int) -> None:
        """Note the micro-batch that was chosen."""
        self._write("micro_batch.json", micro_batch)

    def others(self) -> Iterator[tuple[Path, int]]:
        """Yield the folder of each other unfinished training of the same model, and the last step that it saved."""
        for folder in sorted(self.folder.parent.iterdir()):
            complete = complete_in(folder / _CHECKPOINTS) if folder != self.folder else []
            if complete:
                yield folder, step_of(complete[0])

    def _read(self, name: str, default: Any) -> Any:
        path = self.folder / name
        return json.loads(path.read_text()) if path.is_file() else default

    def _write(self, name: str, value: Any) -> None:
        unfinished = self.folder / f"{name}.part"
        unfinished.write_text(json.dumps(value))
        unfinished.replace(self.folder / name)
