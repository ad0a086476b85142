"""Nothing outlives its run: children, and theirs, end with whoever started them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from forge_pipelines import processes
from forge_pipelines.errors import ForgeError

PYTHON = sys.executable
WAIT_SECONDS = 30

# A child that leaves a grandchild in a session of its own, whose parent then ends: nobody's tree holds it any more.
ORPHAN = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {grandchild!r}], start_new_session=True)
print(child.pid, flush=True)
"""
SLEEPER = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(600)"
)

# A parent that starts one child, which starts another in the same way, and says who they are.
PARENT = """
import sys
from forge_pipelines import processes
child = processes.start(
    [sys.executable, "-c", {child!r}], capture=True, family={family},
)
print(child.pid, child.stdout.readline().strip(), flush=True)
child.wait()
"""
# Fills large arrays one after the other, as training does, and says how often the kernel had to find it a page; none
# of them is huge: neither numpy asks for such pages, nor does the kernel give them unasked (PR_SET_THP_DISABLE).
FILLS_ARRAYS = """
import ctypes, os, resource
os.environ["NUMPY_MADVISE_HUGEPAGE"] = "0"
import numpy
assert ctypes.CDLL(None).prctl(41, 1, 0, 0, 0) == 0
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(30):
    numpy.ones(8_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
CHILD_THAT_TIES = """
import os, sys
from forge_pipelines import processes
child = processes.start([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
child.wait()
"""
CHILD_THAT_FORGETS = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(os.getpid(), child.pid, flush=True)
child.wait()
"""


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_gone(*pids: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while any(map(lives, pids)):
        assert time.monotonic() < deadline, f"{[pid for pid in pids if lives(pid)]} still live"
        time.sleep(0.02)


def run(code: str, tmp_path: Path) -> tuple[int, list[str]]:
    lines: list[str] = []
    return processes.run([PYTHON, "-c", code], lines.append, log=tmp_path / "log"), lines


def test_lines_exit_code_log_and_environment_arrive(tmp_path: Path) -> None:
    lines: list[str] = []
    code = "import os, sys; print(os.environ['GREETING']); print(os.getcwd()); sys.stderr.write('trouble'); sys.exit(3)"
    ended = processes.run(
        [PYTHON, "-c", code], lines.append, environment={"GREETING": "hello"}, log=tmp_path / "log", folder=tmp_path
    )
    assert (ended, lines) == (3, ["hello", str(tmp_path)])
    assert "trouble" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_killed_command_is_told_by_its_signal(tmp_path: Path, number: int) -> None:
    code = f"import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.kill(os.getpid(), {number})"
    assert run(code, tmp_path)[0] == -number


def test_a_command_that_ends_leaves_no_orphan_and_nobody_waits_for_it(tmp_path: Path) -> None:
    started = time.monotonic()
    code, lines = run(ORPHAN.format(grandchild=SLEEPER), tmp_path)
    assert code == 0
    assert_gone(int(lines[0]))
    assert time.monotonic() - started < WAIT_SECONDS


def test_an_orphan_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code, lines = run(ORPHAN.format(grandchild=STUBBORN) + "import time; time.sleep(0.5)", tmp_path)
    assert code == 0
    assert_gone(int(lines[0]))


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ForgeError])
def test_an_exception_while_listening_ends_the_command_and_its_descendants(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    heard: list[int] = []

    def on_line(line: str) -> None:
        heard.extend(map(int, line.split()))
        raise failure

    with pytest.raises(failure):
        processes.run([PYTHON, "-c", CHILD_THAT_FORGETS], on_line, log=tmp_path / "log")
    assert_gone(*heard)


def test_end_kills_what_ignores_sigterm_after_the_grace() -> None:
    child = processes.start([PYTHON, "-c", STUBBORN], capture=True)
    assert child.stdout is not None
    child.stdout.readline()
    processes.end(child, grace_seconds=0.2)
    assert child.returncode == -signal.SIGKILL
    child.stdout.close()


def test_ending_what_has_ended_touches_nobody_else() -> None:
    child = processes.start([PYTHON, "-c", "pass"])
    child.wait()
    child.pid = os.getpid()  # the number was given to another process meanwhile
    processes.end(child)


@pytest.mark.parametrize(
    ("child", "family"), [(CHILD_THAT_TIES, False), (CHILD_THAT_TIES, True), (CHILD_THAT_FORGETS, True)]
)
def test_children_and_theirs_end_when_their_parent_is_killed(child: str, family: bool) -> None:
    command = [PYTHON, "-c", PARENT.format(child=child, family=family)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 3
        assert all(map(lives, pids))
        parent.send_signal(signal.SIGKILL)
    assert_gone(*pids)


def test_run_leaves_nothing_when_its_process_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from forge_pipelines import processes\n"
        f"processes.run([sys.executable, '-c', {CHILD_THAT_FORGETS!r}], lambda line: print(line, flush=True),"
        f" log=Path({str(tmp_path / 'log')!r}))"
    )
    with subprocess.Popen([PYTHON, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert all(map(lives, pids))
        parent.send_signal(signal.SIGKILL)
    assert_gone(*pids)


@pytest.mark.parametrize("family", [False, True])
def test_a_child_may_tie_itself_to_the_process_that_started_it_guard_or_not(family: bool) -> None:
    code = f"from forge_pipelines.processes import die_with_parent; die_with_parent({os.getpid()}); print('tied')"
    child = processes.start([PYTHON, "-c", code], capture=True, family=family)
    assert child.communicate()[0] == "tied\n"
    assert child.returncode == 0


def test_a_child_whose_parent_is_gone_ends_at_once() -> None:
    code = "from forge_pipelines.processes import die_with_parent; die_with_parent(1234567); print('lives on')"
    child = processes.start([PYTHON, "-c", code], capture=True)
    assert child.communicate()[0] == ""
    assert child.returncode == -signal.SIGKILL


def test_a_command_that_is_not_there_is_an_exit_code_and_a_line_in_the_log(tmp_path: Path) -> None:
    assert processes.run(["no-such-program"], lambda _line: None, log=tmp_path / "log") != 0
    assert "the program no-such-program is not installed" in (tmp_path / "log").read_text()


def test_silence_is_told_each_second_and_what_is_raised_then_ends_the_command(tmp_path: Path) -> None:
    told, lines = tmp_path / "told", list[str]()
    until_told = "timeout 60 sh -c 'until [ -e told ]; do sleep 0.1; done'"
    command = ["sh", "-c", f"printf 'one\\ntw'; {until_told}; printf 'o\\nend'"]
    processes.run(command, lines.append, log=tmp_path / "log", folder=tmp_path, on_silence=told.touch)
    assert lines == ["one", "two", "end"] and told.exists()

    def give_up() -> None:
        raise TimeoutError

    started = time.monotonic()
    with pytest.raises(TimeoutError):
        processes.run(["sleep", "60"], lines.append, log=tmp_path / "log", on_silence=give_up)
    assert time.monotonic() - started < 30


def test_a_command_that_keeps_memory_is_given_its_pages_once(tmp_path: Path) -> None:
    faults: list[int] = []
    for environment in ({}, processes.KEEPS_MEMORY):
        command = [PYTHON, "-c", FILLS_ARRAYS]
        processes.run(command, lambda line: faults.append(int(line)), environment=environment, log=tmp_path / "log")
    assert faults[1] < faults[0] / 3
