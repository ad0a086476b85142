"""Training goes on at another number of ranks: on the very next sample, with the optimizer as it was."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from forge_pipelines.errors import PlatformError
from forge_pipelines.manifest import Manifest
from forge_pipelines.progress import Progress
from forge_pipelines.store import Publication, Store
from forge_pipelines.training.checkpoints import Done, checkpoint_folder, read_checkpoint, seal, spare_in
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.elastic import for_ranks
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.recipe import settle
from forge_pipelines.training.stage import train
from forge_pipelines.training.workspace import Workspace

Recipe = Callable[..., TrainingConfig]
SOAK = "FORGE_SOAK" in os.environ
BATCH, STEPS = 4, 12
OPTIONS = {"steps": STEPS, "batch_sequences": BATCH, "checkpoint_every_steps": 3, "keep_checkpoints": 9}
OBSERVER = Path(__file__).parent / "seen"


@dataclass(slots=True)
class Launches:
    """Launches of one training, each of which is stopped, and goes back to a chosen checkpoint."""

    root: Path
    cache: Path
    config: Callable[..., TrainingConfig]
    patch: pytest.MonkeyPatch
    losses: dict[int, float] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    seen: list[list[int]] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return Store(str(self.root / "store"), self.root / "scratch")

    @property
    def checkpoints(self) -> list[Path]:
        return [marker.parent for marker in (self.root / "scratch").rglob("checkpoints/checkpoint-*/complete.json")]

    def launch(self, ranks: int, back_to: int | None = None) -> Publication | None:
        """Train with so many ranks to the end, or until there is a checkpoint after a step, which is then the last."""
        notes = self.root / f"seen-{len(self.seen)}"
        notes.mkdir(parents=True)
        self.patch.setenv("PYTHONPATH", str(OBSERVER))
        self.patch.setenv("FORGE_TEST_SEEN", str(notes))

        def listen(report: Progress) -> None:
            self.said.append(report.message)
            if report.metrics:
                self.losses[int(report.done)] = report.metrics["loss"]
            if back_to is not None and report.done > back_to:
                raise KeyboardInterrupt

        environment = TrainingEnvironment(self.cache, self.root / "logs")
        shards, config = self.store.latest("words", "tokenized_shards"), self.config(gpus={"count": ranks})
        made = None
        try:
            made = train("tiny", shards, config, self.store, environment, listen)
        except KeyboardInterrupt:
            for folder in self.checkpoints:
                if read_checkpoint(folder).step > (back_to or 0):
                    shutil.rmtree(folder)
        lines = [line for path in notes.iterdir() for line in path.read_text().splitlines()]
        self.seen.append(sorted(sample for line in lines for sample in json.loads(line)))
        return made


@pytest.fixture(scope="module")
def control(
    tmp_path_factory: pytest.TempPathFactory, forge_cache: Path, recipe: Recipe, publish: Callable[[Store], Manifest]
) -> Mapping[int, float]:
    """The losses of a training that two ranks end as they began it."""
    root = tmp_path_factory.mktemp("control")
    store, losses = Store(str(root / "store"), root / "scratch"), dict[int, float]()

    def listen(report: Progress) -> None:
        if report.metrics:
            losses[int(report.done)] = report.metrics["loss"]

    train("tiny", publish(store), recipe(**OPTIONS), store, TrainingEnvironment(forge_cache, root / "logs"), listen)
    return losses


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3] if SOAK else [3])
def test_from_two_ranks_to_one_and_back_every_sample_is_read_once_and_the_losses_are_those_of_two_ranks(
    control: Mapping[int, float],
    zero_stage: int,
    recipe: Recipe,
    publish: Callable[[Store], Manifest],
    forge_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def config(**changes: object) -> TrainingConfig:
        return recipe(**OPTIONS, zero_stage=zero_stage, **changes)

    launches = Launches(tmp_path, forge_cache, config, monkeypatch)
    publish(launches.store)
    launches.launch(2, back_to=3)
    torn = launches.checkpoints[0].parent.parent / "converted" / "checkpoint-3" / "global_step3_universal"
    torn.mkdir(parents=True)
    (torn / "mp_rank_00_model_states.pt").write_bytes(b"half of a conversion that was killed")
    launches.launch(1, back_to=6)
    made = launches.launch(2)
    assert made is not None
    for first, last, seen in zip((0, 3, 6), (4, 7, STEPS), launches.seen, strict=True):
        # A rank that was stopped may have read further than the other.
        wanted = range(first * BATCH, last * BATCH)
        assert seen[: len(wanted)] == [*wanted], "each sample once, from the checkpoint's next one on"
        assert len({*seen}) == len(seen)
    assert launches.seen[2][-1] == STEPS * BATCH - 1
    assert launches.losses == pytest.approx(control, rel=1e-5)
    assert made.manifest.measured["world_sizes"] == [2, 1, 2]
    assert made.manifest.measured["resumed_from_step"] == 6
    conversions = [message for message in launches.said if message.startswith("converting ")]
    assert (
        conversions
        == [
            "converting checkpoint-3, which 2 rank(s) saved, for 1",
            "converting checkpoint-6, which 1 rank(s) saved, for 2",
        ][: 2 * bool(zero_stage)]
    )


def write_strange_checkpoint(workspace: Workspace) -> None:
    folder = checkpoint_folder(workspace.checkpoints, 3)
    (folder / "global_step3").mkdir(parents=True)
    (folder / "global_step3" / "zero_pp_rank_0_mp_rank_00_optim_states.pt").write_bytes(b"nothing of DeepSpeed's")
    (folder / "latest").write_text("global_step3")
    for name in ("trainer_state.json", "scheduler.pt"):
        (folder / name).write_bytes(b"")
    done = Done(
        training="a" * 64,
        step=3,
        world_size=2,
        samples=(0, 12),
        skipped_batches=(),
        tokens_trained=1,
        wall_seconds=1.0,
        libraries={},
        devices=(),
    )
    seal(folder, done)


def test_what_cannot_be_converted_is_one_sentence_and_stays(
    recipe: Recipe, publish: Callable[[Store], Manifest], store: Store, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "work")
    write_strange_checkpoint(workspace)
    folder = checkpoint_folder(workspace.checkpoints, 3)
    shutil.copytree(folder, spare_in(workspace.checkpoints))
    one = settle(recipe(gpus={"count": 1}), publish(store))
    refusal = (
        rf"^checkpoint-3, which 2 rank\(s\) saved, for 1 could not be converted: .* the log {tmp_path}/log says why"
    )
    with pytest.raises(PlatformError, match=rf"{refusal}, or set training\.gpus\.count back to 2$"):
        for_ranks(read_checkpoint(folder), one, workspace, tmp_path / "log", lambda _: None)
    assert "UnpicklingError" in (tmp_path / "log").read_text()
    assert (folder / "complete.json").is_file()
    assert not spare_in(workspace.checkpoints).exists(), "the disk need not hold it beside what is converted"


_CONVERT = """
import sys
from pathlib import Path
from forge_pipelines.training.checkpoints import checkpoint_folder, read_checkpoint
from forge_pipelines.training.elastic import for_ranks
from forge_pipelines.training.recipe import Recipe
from forge_pipelines.training.workspace import Workspace

workspace, recipe = Workspace(Path(sys.argv[1])), Recipe.model_validate_json(sys.argv[2])
checkpoint = read_checkpoint(checkpoint_folder(workspace.checkpoints, 3))
for_ranks(checkpoint, recipe, workspace, Path(sys.argv[1]) / "log", lambda message: print(message, flush=True))
"""


def test_a_conversion_ends_with_the_process_that_asked_for_it(
    recipe: Recipe, publish: Callable[[Store], Manifest], store: Store, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "work")
    write_strange_checkpoint(workspace)
    one = settle(recipe(gpus={"count": 1}), publish(store))
    command = [sys.executable, "-c", _CONVERT, str(workspace.folder), one.model_dump_json()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("converting checkpoint-3")
    deadline = time.monotonic() + 60
    while not (there := conversions_in(workspace.folder)):
        assert time.monotonic() < deadline, "no conversion began"
        time.sleep(0.02)
    process.kill()
    _, alive = psutil.wait_procs(there, timeout=10)
    assert alive == []


def conversions_in(folder: Path) -> list[psutil.Process]:
    running = [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"]]
    return [each for each in running if each.info["cmdline"][-1].startswith(str(folder / "converted"))]
