"""An engine does the work on every batch, in order, and whatever ends a process or the run leaves nothing behind."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from forge_pipelines.engine.local import LocalEngine
from forge_pipelines.engine.work import Work
from forge_pipelines.errors import DataError, PlatformError

WORK = Work(module="engine_deeds", function="prepare", argument=">")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here), str(here.parents[2])]))


def workers() -> list[psutil.Process]:
    living = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in living if "forge_pipelines.engine.worker" in child.cmdline()]


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_results_come_in_the_order_of_the_batches(num_workers: int) -> None:
    batches = ["sleep 0.2", *(f"batch {number}" for number in range(200)), "x" * 3_000_000]
    results = list(LocalEngine(num_workers).map_batches(WORK, batches))
    assert results == [f">{batch[:20]}" for batch in batches]
    assert workers() == []


def test_batches_are_taken_ahead_by_a_bounded_number() -> None:
    taken = 0

    def batches() -> Iterator[str]:
        nonlocal taken
        for taken in range(1, 101):
            yield "sleep 0.5" if taken == 1 else "batch"

    results = LocalEngine(2).map_batches(WORK, batches())
    next(results)
    assert taken <= 7
    results.close()  # type: ignore[attr-defined]
    assert workers() == []


def test_several_processes_work_at_once(tmp_path: Path) -> None:
    done = list(LocalEngine(4).map_batches(WORK, [f"meet 4 {tmp_path}"] * 4))
    assert len(set(done)) == 4


def test_an_empty_batch_costs_no_process() -> None:
    results = LocalEngine(2).map_batches(WORK, [[]] * 20)
    for result in results:
        assert result == []
        assert workers() == []


def test_few_batches_are_done_by_this_process_in_their_order() -> None:
    batches = ["who", "", *(f"batch {number}" for number in range(30)), "who"]
    done = LocalEngine(2).map_batches(WORK, batches, few=True)
    assert list(done) == [str(os.getpid()), [], *(f">{batch}" for batch in batches[2:-1]), str(os.getpid())]


def test_what_was_to_be_little_and_takes_long_is_done_by_several_processes(tmp_path: Path) -> None:
    batches = ["who", "sleep 1.1", *[f"meet 2 {tmp_path}"] * 2, "batch"]
    here, slept, one, other, last = LocalEngine(2).map_batches(WORK, batches, few=True)
    assert (here, slept, last) == (str(os.getpid()), ">sleep 1.1", ">batch")
    assert len({here, one, other}) == 3
    assert workers() == []


@pytest.mark.parametrize(("num_workers", "here"), [(2, False), (2, True), (1, False)])
def test_work_is_prepared_aside_and_done_when_it_is_asked_for(num_workers: int, *, here: bool) -> None:
    with LocalEngine(num_workers).aside(WORK, here=here) as aside:
        aside.check()
        assert aside("batch") == ">batch"
        aside.check()
        assert (aside("who") == str(os.getpid())) == (here or num_workers == 1)
        with pytest.raises(DataError, match=r"^what is wrong$"):
            aside("raise what is wrong")
    assert workers() == []


def test_what_fails_while_it_is_prepared_aside_is_told_before_it_is_asked_for() -> None:
    failing = WORK.model_copy(update={"function": "prepare_nothing"})
    with pytest.raises(DataError, match=r"^cannot be prepared: >$"), LocalEngine(2).aside(failing) as aside:
        for _ in range(1000):
            aside.check()
            time.sleep(0.1)
    with pytest.raises(DataError, match=r"^cannot be prepared: >$"), LocalEngine(2).aside(failing) as aside:
        aside("batch")
    assert workers() == []


def test_a_process_aside_that_ends_is_the_platforms_fault() -> None:
    with pytest.raises(PlatformError, match="ended by SIGKILL; run it again"), LocalEngine(2).aside(WORK) as aside:
        aside("end_by SIGKILL")
    assert workers() == []


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_error_of_the_work_is_its_own_sentence(num_workers: int) -> None:
    with pytest.raises(DataError, match=r"^what is wrong$"):
        list(LocalEngine(num_workers).map_batches(WORK, ["one", "raise what is wrong", "three"]))
    assert workers() == []


@pytest.mark.parametrize(
    ("deed", "said"),
    [("end_by SIGKILL", "ended by SIGKILL; run it again"), ("exit 3", "exit code 3: what it said last; run it again")],
)
def test_a_process_that_ends_is_the_platforms_fault_and_nothing_is_left(deed: str, said: str) -> None:
    with pytest.raises(PlatformError, match=said):
        list(LocalEngine(2).map_batches(WORK, ["one", deed, "three", "four", "five"]))
    assert workers() == []
