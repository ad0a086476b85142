"""Whatever is killed, and whenever: the next launch goes on to the very same weights, and loses an interval at most."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import pytest

from forge_pipelines.manifest import Manifest
from forge_pipelines.staging import alone_in
from forge_pipelines.store import Publication, Store
from forge_pipelines.training.checkpoints import Checkpoint, latest_complete
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.stage import train, training_request
from forge_pipelines.training.workspace import Workspace

Recipe = Callable[..., TrainingConfig]
Start = Callable[[Path, TrainingConfig], subprocess.Popen[str]]
Victim = Literal["a rank", "the launcher", "the stage"]

SOAK = "FORGE_SOAK" in os.environ
KILLS, KILLS_WHILE_SAVING = (20, 200) if SOAK else (1, 1)
VICTIMS: tuple[Victim, ...] = ("the launcher", "a rank", "the stage")
STEPS, INTERVAL = 120, 10
TABLE: list[str] = []
PATIENCE_SECONDS = 120
_WORKER = "forge_pipelines.training.worker"


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Print what was killed when, at the end of a soak."""
    yield
    if SOAK:
        heading = "killed       | ZeRO | at step | resumed from | finals"
        sys.stdout.write("\n".join(["", heading, *TABLE, ""]))


@dataclass(frozen=True, slots=True)
class Run:
    """A training whose stage is a process of its own."""

    root: Path
    config: TrainingConfig
    cache: Path

    @property
    def store(self) -> Store:
        return Store(str(self.root / "store"), self.root / "scratch")

    @property
    def workspace(self) -> Workspace:
        request = training_request("tiny", self.store.latest("words", "tokenized_shards"), self.config)
        return Workspace(self.store.workspace(request))

    def latest(self) -> Checkpoint | None:
        """The checkpoint that the next launch would go on from, every file of it verified; none may be damaged."""
        return latest_complete(self.workspace.checkpoints, self.workspace.folder.name, fail)

    def processes(self) -> list[psutil.Process]:
        """Its ranks, what launches them, and the guard of that."""
        running = [each for each in psutil.process_iter(["cmdline", "status"]) if each.info["cmdline"]]
        own = [each for each in running if each.info["cmdline"][-1].startswith(str(self.root))]
        return [each for each in own if each.info["status"] != psutil.STATUS_ZOMBIE]

    def pid_of(self, victim: Victim, stage: subprocess.Popen[str], dice: random.Random) -> int:
        """Return the number of a process to kill."""
        if victim == "the stage":
            return stage.pid
        module = {"the launcher": f"{_WORKER}.launch", "a rank": _WORKER}[victim]
        started = [each for each in self.processes() if "forge_pipelines.processes" not in each.info["cmdline"]]
        return dice.choice([each for each in started if module in each.info["cmdline"]]).pid

    def finish(self) -> Publication:
        """Train to the end, in this process."""
        shards = self.store.latest("words", "tokenized_shards")
        return train("tiny", shards, self.config, self.store, TrainingEnvironment(self.cache, self.root / "logs"))

    def await_end(self, stage: subprocess.Popen[str]) -> None:
        """Wait until a stage has ended, whose processes end with it."""
        stage.communicate(timeout=PATIENCE_SECONDS)
        deadline = time.monotonic() + 30
        while left := self.processes():
            assert time.monotonic() < deadline, f"{left} outlived what ran them"
            time.sleep(0.05)


def fail(message: str) -> None:
    raise AssertionError(message)


def steps_until(stage: subprocess.Popen[str], step: int | None = None) -> int:
    """Read what a stage reports until it has done a step, or ends; return the last step that it did."""
    assert stage.stdout is not None
    last = 0
    for line in stage.stdout:
        done, _ = json.loads(line)
        last = int(done) if isinstance(done, int | float) and done else last
        if step is not None and last >= step:
            break
    return last


def weights_of(publication: Publication) -> str:
    return next(file.sha256 for file in publication.manifest.files if file.path == "model.safetensors")


@pytest.fixture(scope="module")
def control(
    tmp_path_factory: pytest.TempPathFactory, forge_cache: Path, recipe: Recipe, publish: Callable[[Store], Manifest]
) -> Callable[[TrainingConfig], Publication]:
    """What a training is that nothing disturbs, made once for each recipe."""
    root, made = tmp_path_factory.mktemp("control"), dict[str, Publication]()
    publish(Store(str(root / "store"), root / "scratch"))

    def train_undisturbed(config: TrainingConfig) -> Publication:
        key = config.model_dump_json()
        if key not in made:
            made[key] = Run(root, config, forge_cache).finish()
        return made[key]

    return train_undisturbed


def test_after_a_kill_of_a_rank_the_launcher_or_the_stage_the_final_weights_are_those_of_an_undisturbed_training(
    control: Callable[[TrainingConfig], Publication],
    recipe: Recipe,
    publish: Callable[[Store], Manifest],
    start_training: Start,
    forge_cache: Path,
    tmp_path: Path,
) -> None:
    dice = random.Random(20)
    for number in range(KILLS):
        victim, zero_stage = VICTIMS[number % 3], (2, 3, 1)[number // 3 % 3]
        config = recipe(steps=STEPS, checkpoint_every_steps=INTERVAL, zero_stage=zero_stage)
        run = Run(tmp_path / str(number), config, forge_cache)
        publish(run.store)
        stage = start_training(run.root, config)
        last = steps_until(stage, dice.randrange(1, STEPS // 2))
        time.sleep(dice.uniform(0, 0.3))
        os.kill(run.pid_of(victim, stage, dice), signal.SIGKILL)
        last = max(last, steps_until(stage))
        run.await_end(stage)
        latest = run.latest()
        resumed_from = latest.step if latest else 0
        assert last - resumed_from <= INTERVAL, "more than one interval was lost"
        made = run.finish()
        assert made.fresh
        assert made.manifest.measured["resumed_from_step"] == resumed_from
        assert weights_of(made) == weights_of(control(config))
        assert made.manifest.fingerprint == control(config).manifest.fingerprint
        TABLE.append(f"{victim:<12} | {zero_stage:>4} | {last:>7} | {resumed_from:>12} | equal")


def test_after_a_kill_of_the_stage_none_enters_its_folder_before_the_last_of_its_ranks_is_gone(
    recipe: Recipe, publish: Callable[[Store], Manifest], start_training: Start, forge_cache: Path, tmp_path: Path
) -> None:
    run, waited = Run(tmp_path, recipe(steps=STEPS), forge_cache), list[bool]()
    publish(run.store)
    stage = start_training(run.root, run.config)
    steps_until(stage, 1)
    [guard] = [each for each in run.processes() if "guard" in each.info["cmdline"]]
    guard.suspend()
    os.kill(stage.pid, signal.SIGKILL)
    stage.communicate(timeout=PATIENCE_SECONDS)

    def go_on() -> None:
        waited.append(True)
        guard.resume()

    with alone_in(run.workspace.folder, go_on):
        assert [each for each in run.processes() if each.pid != guard.pid] == []
    assert waited == [True]


def test_a_kill_at_any_moment_of_saving_loses_one_interval_at_most_and_leaves_nothing_that_does_not_load(
    control: Callable[[TrainingConfig], Publication],
    recipe: Recipe,
    publish: Callable[[Store], Manifest],
    start_training: Start,
    forge_cache: Path,
    tmp_path: Path,
) -> None:
    dice, steps = random.Random(200), 6 * KILLS_WHILE_SAVING + 100
    every = recipe(steps=steps, checkpoint_every_steps=1, gpus={"count": 1})
    seldom = recipe(steps=steps, checkpoint_every_steps=500, gpus={"count": 1})
    run, before = Run(tmp_path, every, forge_cache), 0
    publish(run.store)
    for _ in range(KILLS_WHILE_SAVING):
        stage = start_training(run.root, every)
        # A step is reported before it is saved, and saving takes longer than a step.
        first = steps_until(stage, before + 1)
        assert first == before + 1, "it goes on with the very next step"
        time.sleep(dice.uniform(0, 0.2))
        stage.kill()
        last = max(first, steps_until(stage))
        run.await_end(stage)
        latest = run.latest()
        before = latest.step if latest else 0
        assert last - before <= 1, "more than one interval was lost"
    made = Run(tmp_path, seldom, forge_cache).finish()
    assert made.manifest.measured["resumed_from_step"] == before
    assert made.manifest.measured["restarts"] == KILLS_WHILE_SAVING
    assert weights_of(made) == weights_of(control(seldom))
    TABLE.append(f"{KILLS_WHILE_SAVING} while saving, {before} steps: each loaded, none lost more than one interval")
