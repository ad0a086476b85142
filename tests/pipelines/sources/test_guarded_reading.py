"""Whatever a file does to its reader, it is one rejection: the others are read, in their order, and nothing is left."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import psutil
import pytest

from forge_pipelines.errors import PlatformError
from forge_pipelines.sources.config import ReadingLimits
from forge_pipelines.sources.guarded.crew import read_guarded
from forge_pipelines.sources.place import Refusal
from forge_pipelines.sources.readers.reading import Part, Reading, ReadingOptions, Record

HERE = Path(__file__).parent
WAIT_SECONDS = 60

# A run that reads a file which never ends, and says which process reads it.
RUN = """
import sys, psutil
from forge_pipelines.sources.config import ReadingLimits
from forge_pipelines.sources.guarded.crew import read_guarded

def contents():
    yield "1", b"first"
    yield "2", b"sleep 600"
    print(psutil.Process().children()[0].pid, flush=True)
    while True:
        yield "3", b"sleep 600"

for answer in read_guarded(contents(), ReadingLimits(), num_workers=1, readers="hostile_readers"):
    pass
"""


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parents[2])]))


def limits(**given: Any) -> ReadingLimits:
    return ReadingLimits.model_validate({"seconds": 20.0, **given})


def parts(*contents: bytes, num_workers: int = 2, options: ReadingOptions | None = None, **given: Any) -> list[Part]:
    files = [(str(number), content) for number, content in enumerate(contents)]
    heard = read_guarded(files, limits(**given), options, num_workers=num_workers, readers="hostile_readers")
    answers = {file: list(group) for file, group in groupby(heard, key=itemgetter(0))}
    assert list(answers) == [file for file, _ in files]
    assert all(group[-1][1] is None for group in answers.values())
    return [part for group in answers.values() for _, part in group if part is not None]


def read(*contents: bytes, num_workers: int = 2, **given: Any) -> list[Reading | Record | Refusal | None]:
    return [part.outcome for part in parts(*contents, num_workers=num_workers, **given)]


def said(part: Part) -> tuple[str, str]:
    assert isinstance(part.outcome, Reading | Refusal)
    return part.path, part.outcome.text if isinstance(part.outcome, Reading) else part.outcome.rule


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
        b"before",
        content,
        b"after",
        b"more",
        num_workers=1,
        memory_bytes=512 << 20,
        options=ReadingOptions(max_text_characters=2000),
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
    answers = read(b"before", content, b"after", seconds=1.5)
    assert answers == [
        text("before"),
        Refusal("too_slow", "was not read within 1.5 seconds (reading.seconds)"),
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
def test_word_comes_in_the_files_order_whatever_the_number_of_workers(num_workers: int) -> None:
    contents = [f"file {number}".encode() for number in range(300)]
    contents[0:0] = [b"sleep 0.3"]
    contents[50:50] = [b"x" * 3_000_000, b"end_by SIGSEGV", b"y" * 300_000]
    assert [said(part)[1] for part in parts(*contents, num_workers=num_workers)] == [
        {b"sleep 0.3": "slept 0.3", b"end_by SIGSEGV": "crashed"}.get(content) or content.decode()
        for content in contents
    ]


@pytest.mark.parametrize(
    ("member", "rule"),
    [("end_by SIGSEGV", "crashed"), ("sleep 600", "too_slow"), ("allocate 1000000000", "too_much_memory")],
)
def test_a_hostile_member_is_a_rejection_and_the_files_others_are_read(member: str, rule: str) -> None:
    file = "\n".join(["holds", "one", member, f"holds\\ntwo\\n{member}\\nthree", "four", member]).encode()
    found = parts(b"before", file, b"after", num_workers=1, seconds=1.0, memory_bytes=512 << 20)
    assert [said(part) for part in found] == [
        ("", "before"),
        ("", "holder"),
        ("!/1", "one"),
        ("!/2", rule),
        ("!/3", "holder"),
        ("!/3!/1", "two"),
        ("!/3!/2", rule),
        ("!/3!/3", "three"),
        ("!/4", "four"),
        ("!/5", rule),
        ("", "after"),
    ]
    assert [part.parent for part in found][1:5] == [None, "", "", ""]


def test_a_member_whose_reader_is_killed_from_outside_is_tried_once_more(tmp_path: Path) -> None:
    file = f"holds\none\nend_by_kill_once {tmp_path / 'killed'}\nthree".encode()
    assert [said(part) for part in parts(file)] == [
        ("", "holder"),
        ("!/1", "one"),
        ("!/2", "read at the second try"),
        ("!/3", "three"),
    ]


@pytest.mark.parametrize("in_place", [False, True])
def test_a_record_whose_reader_crashes_ends_its_file_and_what_was_read_before_stays(
    tmp_path: Path, in_place: bool
) -> None:
    lines = b"one\ntwo\nend_by SIGSEGV\nfour"
    (tmp_path / "file").write_bytes(lines)
    sha256 = hashlib.sha256(lines).hexdigest()
    files = [(sha256, tmp_path / "file" if in_place else lines), ("after", b"after")]
    options = ReadingOptions(record_kind="text")
    heard = read_guarded(files, limits(), options, num_workers=1, readers="hostile_readers")
    found = [part for _, part in heard if part is not None]
    assert [(part.path, part.outcome and said(part)[1]) for part in found] == [
        ("", None),
        ("#1", "one"),
        ("#2", "two"),
        ("!/…", "crashed"),
        ("", None),
        ("#1", "after"),
    ]


def test_a_file_read_in_its_place_that_is_another_by_now_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("one")
    files = [(hashlib.sha256(b"other").hexdigest(), tmp_path / "file")]
    options = ReadingOptions(record_kind="text")
    heard = list(read_guarded(files, limits(), options, readers="hostile_readers"))
    assert [part.outcome.rule for _, part in heard if part and isinstance(part.outcome, Refusal)] == ["changed"]


def test_of_few_files_those_behind_a_slow_one_are_read_by_a_second_process_though_nobody_speaks(tmp_path: Path) -> None:
    contents = [f"wait_for {tmp_path / 'marker'}".encode(), *[b"file"] * 8, f"touch {tmp_path / 'marker'}".encode()]
    files = [(str(number), content) for number, content in enumerate(contents)]
    heard = read_guarded(files, limits(seconds=60), num_workers=2, few=True, readers="hostile_readers")
    read_texts = [said(part)[1] for _, part in heard if part is not None]
    assert read_texts == ["marker is there: True", *["file"] * 8, "touched marker"]


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

    files = ((str(number), content) for number, content in enumerate(contents()))
    with closing(read_guarded(files, limits(), num_workers=2, readers="hostile_readers")) as answers:
        _, first = next(answers)
        assert first is not None
        assert first.outcome == text("slept 1")
        assert taken <= most_taken


def test_no_reader_is_left_after_an_end_in_the_middle() -> None:
    files = [("first", b"first"), *[("sleep", b"sleep 600")] * 100]
    answers = read_guarded(files, limits(), num_workers=2, readers="hostile_readers")
    assert next(answers)[0] == "first"
    assert len(readers_of(os.getpid())) == 2
    answers.close()
    assert readers_of(os.getpid()) == []


def test_nothing_is_started_for_nothing_to_read() -> None:
    assert list(read_guarded([], limits(), readers="hostile_readers")) == []
    assert readers_of(os.getpid()) == []


def test_a_file_of_many_parts_is_heard_no_faster_than_it_is_taken(tmp_path: Path) -> None:
    """What waits behind a slow file is bounded, though a fast process could say ever more of the next."""
    before = psutil.Process().memory_info().rss
    many = "\n".join(["repeat 1000000"] * 600)
    (tmp_path / "many").write_text(many)
    files = [("slow", b"sleep 3"), (hashlib.sha256(many.encode()).hexdigest(), tmp_path / "many")]
    options = ReadingOptions(record_kind="text")
    most = 0
    for _ in read_guarded(files, limits(), options, num_workers=2, readers="hostile_readers"):
        most = max(most, psutil.Process().memory_info().rss - before)
    assert most < 400 << 20


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
        list(read_guarded([("first", b"first")], limits(), readers="no_such_readers"))
    assert readers_of(os.getpid()) == []
