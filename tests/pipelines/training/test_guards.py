"""Training that hangs, runs out of memory, or has nothing to learn from ends in one sentence, and leaves nothing."""

import errno
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
import torch
from torch._dynamo.exc import BackendCompilerFailed
from transformers import TrainerControl, TrainerState, TrainingArguments

from forge_pipelines.errors import ConfigError, DataError, PlatformError
from forge_pipelines.manifest import Classification, Manifest, StageRequest
from forge_pipelines.progress import Progress
from forge_pipelines.shards.order import sequences_of
from forge_pipelines.shards.reading import SEQUENCES, open_shards
from forge_pipelines.store import Made, Store
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.heartbeat import Heart
from forge_pipelines.training.job import DivergedError, TrainingJob
from forge_pipelines.training.memory import remedy
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.recipe import recipe_of
from forge_pipelines.training.stage import train
from forge_pipelines.training.vigil import Vigil, sentence_of
from forge_pipelines.training.worker.determinism import add_in_one_order
from forge_pipelines.training.worker.failures import named
from forge_pipelines.training.worker.watch import Watch

Recipe = Callable[..., TrainingConfig]
LONG = {"steps": 400, "checkpoint_every_steps": 400}
MANY = {**LONG, "gpus": {"count": 1}}
LOOPING = """
import os, signal

def endless(*_):
    while True:
        pass

if "RANK" in os.environ:
    signal.signal(signal.SIGUSR2, endless)
"""
STARVING = """
import os, resource, signal

def starve(*_):
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    # What is left is for the sentence about it.
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20),) * 2)
    bytearray(1 << 40)

if "RANK" in os.environ:
    signal.signal(signal.SIGUSR2, starve)
"""
SLOW_DISK = """
import os, pathlib, time

def rename(path, target, rename=pathlib.Path.rename):
    if path.parent.name == "checkpoint-2":
        time.sleep(15)
    return rename(path, target)

if "RANK" in os.environ:
    pathlib.Path.rename = rename
"""


@pytest.fixture
def begin_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that has every Python of this test run some code first."""

    def write(code: str) -> None:
        (tmp_path / "first").mkdir()
        (tmp_path / "first" / "sitecustomize.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'first'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    return write


def ranks_of(root: Path) -> list[psutil.Process]:
    """The ranks whose job stands below a folder, in the order of their ranks."""
    found = dict[int, psutil.Process]()
    for each in psutil.process_iter(["cmdline"]):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            if is_of(each, root):
                found[int(each.environ()["RANK"])] = each
    return [found[rank] for rank in sorted(found)]


def is_of(process: psutil.Process, root: Path) -> bool:
    command = process.info["cmdline"] or [""]
    return command[-1].startswith(str(root)) and "forge_pipelines.training.worker" in command


def at_step(step: int, action: Callable[[], object]) -> Callable[[Progress], None]:
    """Listen to a training, and do something when a step was done."""

    def listen(progress: Progress) -> None:
        if progress.metrics and progress.done == step:
            action()

    return listen


def nothing_left(root: Path, store: Store) -> bool:
    return not ranks_of(root) and not list(store.manifests(kind="trained_checkpoint"))


def test_a_rank_that_is_stopped_is_named_with_every_ranks_stack_in_the_log(
    store: Store, shards: Manifest, recipe: Recipe, environment: TrainingEnvironment, tmp_path: Path
) -> None:
    config = recipe(**LONG, stall_seconds=8)

    def stop() -> None:
        ranks_of(tmp_path)[1].suspend()

    with pytest.raises(PlatformError, match=r"^tiny: rank 1 of 2 has done nothing for \d+ s \(training, ") as caught:
        train("tiny", shards, config, store, environment, at_step(3, stop))
    said = str(caught.value)
    assert "it is stopped by a signal" in said and "run the same command again" in said and "\n" not in said
    log = Path(re.search(r"are in (\S+\.log);", said)[1]).read_text()  # type: ignore[index]
    assert re.search(r"^rank 1 of 2 \(process \d+, stopped\): .* it gives no stack: it is stopped", log, re.MULTILINE)
    waiting = log[log.rindex("rank 0 of 2 (process") :].partition("rank 1 of 2")[0]
    assert "its stacks:" in waiting and "torch/distributed" in waiting
    assert nothing_left(tmp_path, store)


def test_an_endless_loop_is_noticed_and_its_stack_says_where_it_is(
    store: Store,
    shards: Manifest,
    recipe: Recipe,
    environment: TrainingEnvironment,
    tmp_path: Path,
    begin_with: Callable[[str], None],
) -> None:
    begin_with(LOOPING)

    def loop() -> None:
        ranks_of(tmp_path)[0].send_signal(signal.SIGUSR2)

    config = recipe(**MANY, stall_seconds=5)
    with pytest.raises(PlatformError, match=r"^tiny: rank 0 of 1 has done nothing for \d+ s \(") as caught:
        train("tiny", shards, config, store, environment, at_step(3, loop))
    log = Path(re.search(r"are in (\S+\.log);", str(caught.value))[1]).read_text()  # type: ignore[index]
    assert re.search(r"rank 0 of 1 \(process \d+, running\): .*, silent for \d+ s; its stacks:", log)
    assert re.search(r'File ".*sitecustomize\.py", line \d+ in endless', log)
    assert nothing_left(tmp_path, store)


def test_ranks_that_wait_for_a_checkpoint_to_be_complete_are_not_blamed(
    store: Store, shards: Manifest, recipe: Recipe, environment: TrainingEnvironment, begin_with: Callable[[str], None]
) -> None:
    begin_with(SLOW_DISK)
    config = recipe(steps=3, checkpoint_every_steps=2, stall_seconds=5)
    made = train("tiny", shards, config, store, environment)
    assert made.manifest.measured["wall_seconds"] > 15


@pytest.fixture
def job(tmp_path: Path, recipe: Recipe) -> TrainingJob:
    """A job of two ranks that may do nothing for five seconds."""
    settled = recipe_of(recipe(stall_seconds=5), 10, 32, "fp32")
    return TrainingJob(
        name="tiny",
        key="0" * 64,
        shards=tmp_path,
        base=None,
        checkpoints=tmp_path / "checkpoints",
        output=tmp_path,
        rendezvous=tmp_path,
        recipe=settled,
        device="cpu",
        world_size=2,
        resume_from=None,
        skipped=(),
    )


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def seconds(self, number: int) -> Iterator[None]:
        """Let seconds pass, one by one."""
        for _ in range(number):
            self.now += 1
            yield


def test_loading_and_saving_may_take_longer_than_a_step(job: TrainingJob) -> None:
    clock = Clock()
    vigil, hearts = Vigil(job, clock), [Heart(job.rendezvous, rank) for rank in range(2)]
    assert all(vigil.look() is None for _ in clock.seconds(600))
    for heart in hearts:
        heart.beat("starting", slow_bytes=100 << 30)
    assert all(vigil.look() is None for _ in clock.seconds(2000))
    for heart in hearts:
        heart.beat("saving", 7, 1000 << 30)
    assert all(vigil.look() is None for _ in clock.seconds(20_000))
    for heart in hearts:
        heart.beat("training", 7)
    stalls = [stall for _ in clock.seconds(7) if (stall := vigil.look())]
    assert [(stall.ranks, stall.seconds, stall.step) for stall in stalls] == [((0, 1), 6.0, 7)]


def test_a_rank_that_never_begins_and_one_that_is_behind_are_the_ones_that_are_named(job: TrainingJob) -> None:
    clock = Clock()
    vigil, heart = Vigil(job, clock), Heart(job.rendezvous, 0)
    stall = next(stall for _ in clock.seconds(1000) if (stall := vigil.look()))
    assert (stall.ranks, stall.phase) == ((1,), "starting")
    late = Heart(job.rendezvous, 1)
    late.beat("training", 4)
    heart.beat("training", 4)
    heart.beat("training", 5)
    stall = next(stall for _ in clock.seconds(10) if (stall := vigil.look()))
    said = sentence_of(stall, job, Path("tiny.log"))
    assert said.startswith("rank 1 of 2 has done nothing for 6 s (training, step 4); the stacks of all ranks are in ")


def test_a_watch_that_was_held_up_blames_no_rank(job: TrainingJob) -> None:
    clock = Clock()
    vigil, hearts = Vigil(job, clock), [Heart(job.rendezvous, rank) for rank in range(2)]
    for heart in hearts:
        heart.beat("training", 4)
    assert vigil.look() is None
    clock.now += 3600
    assert vigil.look() is None


def test_memory_that_runs_out_ends_in_a_sentence_with_what_to_change_of_this_recipe(
    store: Store,
    shards: Manifest,
    recipe: Recipe,
    environment: TrainingEnvironment,
    tmp_path: Path,
    begin_with: Callable[[str], None],
) -> None:
    begin_with(STARVING)

    def starve() -> None:
        ranks_of(tmp_path)[0].send_signal(signal.SIGUSR2)

    config = recipe(**MANY, batch_sequences=64)
    with pytest.raises(PlatformError, match=r"^tiny: the machine's memory ran out; ") as caught:
        train("tiny", shards, config, store, environment, at_step(2, starve))
    said = str(caught.value)
    assert "lower training.micro_batch_sequences from 64 to 32" in said
    assert "set training.gradient_checkpointing: true" in said and "\n" not in said
    assert nothing_left(tmp_path, store)


def test_a_gpus_memory_is_told_from_the_machines(job: TrainingJob) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    assert str(named(error, job)).startswith("the GPU's memory ran out; ")
    assert named(ValueError("a fault of ours"), job) is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        RuntimeError("can't start new thread"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_ran_out_is_known_however_the_machine_says_it(job: TrainingJob, error: Exception) -> None:
    assert str(named(error, job)).startswith("the machine's memory ran out; ")


def test_a_network_that_cannot_be_compiled_ends_in_a_sentence_that_says_how_to_go_on(job: TrainingJob) -> None:
    error = named(BackendCompilerFailed(lambda: None, RuntimeError("no such operation"), None), job)
    assert isinstance(error, ConfigError)
    expected = "torch.compile does not take this network (no such operation); set training.compile: false"
    assert str(error) == expected


def test_what_would_help_is_said_with_the_recipes_own_values(recipe: Recipe) -> None:
    def said(**changes: object) -> str:
        return remedy(recipe_of(recipe(**changes), 10, 32, "fp32"))

    assert said(zero_stage=1).startswith("lower training.micro_batch_sequences from 2 to 1, or set training.gradient_")
    assert "raise training.zero_stage from 1 to 2" in said(zero_stage=1)
    assert "training.zero_stage" not in said(zero_stage=1, gpus={"count": 1})
    assert "training.lora" in said(architecture=None)
    least = said(gpus={"count": 1}, micro_batch_sequences=1, gradient_checkpointing=True)
    assert least.startswith("shorten the sequences (shards.sequence_length)")


def test_shards_without_a_trainable_token_start_no_rank(
    store: Store, recipe: Recipe, environment: TrainingEnvironment
) -> None:
    request = StageRequest(kind="tokenized_shards", name="empty", inputs={}, parameters={}, code_version="1")
    counts = {"trainable_tokens": 0, "sequences": 4, "sequence_length": 32}
    empty = store.obtain(request, lambda _: Made(counts, Classification.INTERNAL)).manifest
    with pytest.raises(DataError, match=r"^tiny: not one token of empty/tokenized_shards \w{12} would be trained on; "):
        train("tiny", empty, recipe(), store, environment)
    assert not environment.log_folder.exists()


def test_a_batch_without_a_label_ends_training_before_its_step_and_names_its_documents(
    store: Store, shards: Manifest, recipe: Recipe, environment: TrainingEnvironment
) -> None:
    config = recipe(steps=6, gpus={"count": 1})
    masked = without_labels(store, shards, config, batch=2)
    steps: list[float] = []
    with pytest.raises(
        DataError, match=r"^tiny: at step 3 no label .* is trained on, on samples 8 to 11, of documents "
    ):
        train("tiny", masked, config, store, environment, lambda each: steps.append(each.done))
    assert max(steps) == 2


def test_an_operation_that_adds_up_in_no_fixed_order_is_a_sentence(job: TrainingJob) -> None:
    add_in_one_order()
    try:
        with pytest.raises(RuntimeError) as caught:
            torch.zeros(3).put_(torch.tensor([1]), torch.ones(1))
    finally:
        torch.use_deterministic_algorithms(False)
    assert str(named(caught.value, job)) == (
        "this network computes put_, which torch adds up in no fixed order; "
        "set training.deterministic: false, and a resumed training is no longer bit by bit the same"
    )


def test_steps_that_had_nothing_to_learn_do_not_count_in_what_a_loss_jumps_from(job: TrainingJob) -> None:
    watch = Watch(job.model_copy(update={"masked": True}), 64, lambda _: None, Heart(job.rendezvous, 0))
    arguments = TrainingArguments(str(job.output), use_cpu=True, report_to="none")

    def log(loss: float) -> None:
        losses = [7.0] * 20 + [0.0] * 40 + [7.0] * 13 + [loss]
        state = TrainerState(is_world_process_zero=False, log_history=[{"loss": each} for each in losses])
        watch.on_log(arguments, state, TrainerControl(), {"loss": loss, "grad_norm": 1.0})

    log(9.9)
    with pytest.raises(DivergedError, match=r"the loss jumps to 10\.100, from a median of 7\.000 in the 32 "):
        log(10.1)


def without_labels(store: Store, shards: Manifest, config: TrainingConfig, batch: int) -> Manifest:
    """Publish the shards once more, with all labels of one batch masked."""
    folder = store.open(shards)
    opened, size = open_shards(folder), config.batch_sequences
    rows = sequences_of(opened.order(config.seed), np.arange(batch * size, (batch + 1) * size))
    table = opened.sequences.data.table.combine_chunks()
    columns = {name: np.stack(table.column(name).to_numpy(zero_copy_only=False)) for name in table.column_names}
    columns["labels"][rows] = -100

    def make(staging: Path) -> Made:
        for path in folder.rglob("*"):
            if path.is_file() and path.name not in {SEQUENCES, "manifest.json"}:
                target = staging / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
        arrays = [
            pa.FixedSizeListArray.from_arrays(pa.array(columns[field.name].ravel()), opened.sequence_length)
            for field in table.schema
        ]
        with pa.ipc.new_stream(str(staging / SEQUENCES), table.schema) as writer:
            writer.write_batch(pa.record_batch(arrays, schema=table.schema))
        return Made(json.loads(json.dumps(dict(shards.counts))), Classification.INTERNAL)

    request = StageRequest(kind="tokenized_shards", name="masked", inputs={}, parameters={}, code_version="1")
    return store.obtain(request, make).manifest
