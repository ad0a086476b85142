"""Whatever a file does to its reader, it is one rejection: the others are read, in their order, and nothing is left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from forge_pipelines.errors import PlatformError
from forge_pipelines.sources.config import ReadingLimits
from forge_pipelines.sources.guarded.crew import read_guarded
from forge_pipelines.sources.place import Refusal
from forge_pipelines.sources.readers.reading import Reading

HERE = Path(__file__).parent
WAIT_SECONDS = 10

# A run that reads a file which never ends, and says which process reads it.
RUN = """
import sys, psutil
from forge_pipelines.sources.config import ReadingLimits
from forge_pipelines.sources.guarded.crew import read_guarded

def contents():
    yield b"first"
    yield b"sleep 600"
    print(psutil.Process().children()[0].pid, flush=True)
    while True:
        yield b"sleep 600"

for answer in read_guarded(contents(), ReadingLimits(), num_workers=1, readers="hostile_readers"):
    pass
"""


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parents[2])]))


def limits(**given: Any) -> ReadingLimits:
    return ReadingLimits.model_validate({"seconds": 20.0, **given})


def read(*contents: bytes | Refusal, num_workers: int = 2, **given: Any) -> list[Reading | Refusal]:
    return list(read_guarded(contents, limits(**given), num_workers=num_workers, readers="hostile_readers"))


def text(content: str) -> Reading:
    return Reading(content, "text/plain")


def readers_of(pid: int) -> list[psutil.Process]:
    living = [child for child in psutil.Process(pid).children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in living if "forge_pipelines.sources.guarded.worker" in child.cmdline()]


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + WAIT_SECONDS
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize(
    ("content", "rule", "reason"),
    [
        (b"end_by SIGSEGV", "crashed", "made its reader end by SIGSEGV"),
        (b"end_by SIGABRT", "crashed", "made its reader end by SIGABRT"),
        (b"end_by SIGKILL", "crashed", "made its reader end by SIGKILL"),
        (b"exit 3", "crashed", "made its reader end with exit code 3"),
        (
            b"allocate 1000000000",
            "too_much_memory",
            "needs more memory than reading.memory_bytes (536,870,912) allows",
        ),
        (
            b"repeat 2001",
            "too_much_text",
            "holds 2,001 characters of text, more than reading.max_text_characters (2,000) allows",
        ),
        (b"raise first line\nand more", "damaged", "cannot be read: ValueError: first line"),
        (b"raise <Page at 0x7f00aa>", "damaged", "cannot be read: ValueError: <Page>"),
        (b"recurse", "damaged", "cannot be read: RecursionError: maximum recursion depth exceeded"),
        (b"refuse has no pages", "own_rule", "has no pages"),
    ],
    ids=lambda value: value.decode().split("\n")[0] if isinstance(value, bytes) else "",
)
def test_a_hostile_file_is_a_rejection_and_the_others_are_read(content: bytes, rule: str, reason: str) -> None:
    before, refusal, *after = read(
        b"before", content, b"after", b"more", num_workers=1, memory_bytes=512 << 20, max_text_characters=2000
    )
    assert isinstance(refusal, Refusal)
    assert (refusal.rule, refusal.reason) == (rule, reason)
    assert [before, *after] == [text("before"), text("after"), text("more")]


def test_text_that_no_encoding_holds_is_damaged() -> None:
    (refusal,) = read(b"surrogate")
    assert isinstance(refusal, Refusal)
    assert refusal.rule == "damaged"


@pytest.mark.parametrize("content", [b"sleep 600", b"end_by SIGSTOP"])
def test_a_file_that_overstays_is_too_slow_and_the_others_are_read(content: bytes) -> None:
    start = time.monotonic()
    answers = read(b"before", content, b"after", seconds=0.5)
    assert answers == [
        text("before"),
        Refusal("too_slow", "was not read within 0.5 seconds (reading.seconds)"),
        text("after"),
    ]
    assert time.monotonic() - start < WAIT_SECONDS


def test_a_file_whose_reader_is_killed_from_outside_is_tried_once_more(tmp_path: Path) -> None:
    content = f"end_by_kill_once {tmp_path / 'killed'}".encode()
    assert read(content, b"after") == [text("read at the second try"), text("after")]
    assert (tmp_path / "killed").exists()


def test_what_an_earlier_file_left_behind_does_not_count_against_a_later_one() -> None:
    answers = read(b"poison all", b"fragile file", b"after", num_workers=1)
    assert answers == [text("poisoned"), text("whole: file"), text("after")]


@pytest.mark.parametrize("num_workers", [1, 3])
def test_answers_come_in_the_files_order_whatever_the_number_of_workers(num_workers: int) -> None:
    refused = Refusal("too_large", "is too large")
    contents: list[bytes | Refusal] = [f"file {number}".encode() for number in range(300)]
    contents[0:0] = [refused, b"sleep 0.3"]
    contents[50:50] = [b"x" * 3_000_000, refused, b"end_by SIGSEGV", b"y" * 300_000]
    answers = read(*contents, num_workers=num_workers)
    assert [answer.text if isinstance(answer, Reading) else answer.rule for answer in answers] == [
        {refused: "too_large", b"sleep 0.3": "slept 0.3", b"end_by SIGSEGV": "crashed"}.get(content)
        or (content.decode() if isinstance(content, bytes) else "")
        for content in contents
    ]


def test_large_files_pass_both_ways() -> None:
    contents = [bytes([letter]) * (30 << 20) for letter in b"abc"]
    assert [answer.text for answer in read(*contents) if isinstance(answer, Reading)] == [
        content.decode() for content in contents
    ]


@pytest.mark.parametrize(("num_bytes", "most_taken"), [(10, 66), (20 << 20, 8)])
def test_files_are_read_ahead_by_a_bounded_amount(num_bytes: int, most_taken: int) -> None:
    taken = 0

    def contents() -> Iterator[bytes]:
        nonlocal taken
        yield b"sleep 1"
        while True:
            taken += 1
            yield b"x" * num_bytes

    with closing(read_guarded(contents(), limits(), num_workers=2, readers="hostile_readers")) as answers:
        assert next(answers) == text("slept 1")
        assert taken <= most_taken


def test_no_reader_is_left_after_an_end_in_the_middle() -> None:
    answers = read_guarded([b"first", *[b"sleep 600"] * 100], limits(), num_workers=2, readers="hostile_readers")
    assert next(answers) == text("first")
    assert len(readers_of(os.getpid())) == 2
    answers.close()
    assert readers_of(os.getpid()) == []


def test_nothing_is_started_for_nothing_to_read() -> None:
    answers = read_guarded([Refusal("name", "has no name")] * 2, limits(), readers="hostile_readers")
    assert next(answers) == Refusal("name", "has no name")
    assert readers_of(os.getpid()) == []


@pytest.mark.parametrize("end_signal", [signal.SIGKILL, signal.SIGINT])
def test_readers_end_with_the_run(end_signal: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUN],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as run:
        assert run.stdout is not None
        reader = int(run.stdout.readline())
        if end_signal is signal.SIGINT:
            os.killpg(run.pid, end_signal)
        else:
            run.send_signal(end_signal)
        run.wait(WAIT_SECONDS)
    assert until(lambda: not psutil.pid_exists(reader))


def test_a_reader_that_cannot_start_is_the_platforms_fault_and_says_why() -> None:
    with pytest.raises(PlatformError, match="does not start: ModuleNotFoundError: No module named 'no_such_readers'"):
        list(read_guarded([b"first"], limits(), readers="no_such_readers"))
    assert readers_of(os.getpid()) == []
