"""Starts children and ends all their descendants. Nothing else in Forge starts a process."""

import ctypes
import os
import selectors
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SILENCE_SECONDS = 1.0
_CHUNK_BYTES = 1 << 16

Child = subprocess.Popen[str]
"""A started process: `poll()`, `wait()`, `send_signal()`."""


@dataclass(frozen=True, slots=True)
class Transformed:
    """What a command made of its input: its exit code, its standard output, and its standard error's last line."""

    exit_code: int
    output: bytes
    complaint: str


_GUARDED = "FORGE_GUARDED_PARENT"
_POLITE = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads that wait for each other sleep: where others use the cores too, spinning slows all of them."""


KEEPS_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
"""For a command that computes on the CPU in large tensors: glibc keeps what is freed for the next (`mallopt(3)`).

It would give it back to the kernel, which fills every page with zeros again: an eighth of a training's time.
"""

NOTHING_LEAVES = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
"""For a command that uses Hugging Face's libraries: they fetch nothing, and tell nobody."""

NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}
"""For a command that is to see no GPU."""


def available_cores() -> int:
    """Return how many of this machine's cores this process may use."""
    return len(os.sched_getaffinity(0))


def die_with_parent(parent_pid: int, with_signal: int = signal.SIGKILL) -> None:
    """Ask the kernel to signal this process when its parent ends, and end now if it has ended already.

    Args:
        parent_pid: the process that this one must not outlive (``prctl(2)``, PR_SET_PDEATHSIG); its guard (see
            `start`) may stand between.
        with_signal: what the kernel sends.

    Raises:
        OSError: the kernel refused.
    """
    _prctl(_PR_SET_PDEATHSIG, with_signal)
    if os.getppid() != parent_pid and os.environ.get(_GUARDED) != f"{parent_pid} by {os.getppid()}":
        os.kill(os.getpid(), with_signal)


def start(  # noqa: PLR0913 - all but the command are options
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
    folder: Path | None = None,
    end_signal: int = signal.SIGKILL,
    capture: bool = False,
    family: bool = False,
    pass_descriptors: Sequence[int] = (),
) -> Child:
    """Start a command that ends when this process does, however this process ends.

    Args:
        command: the program and its arguments.
        environment: variables on top of this process's own.
        log: file that standard error (and standard output, unless captured) is appended to.
        folder: working folder; this process's own by default.
        end_signal: what the kernel sends the command when this process dies.
        capture: give standard output as a pipe of lines.
        family: leave a guard between, which ends every descendant of the command when the command ends or this
            process dies, and which SIGTERM reaches alone: the command has a session of its own, out of reach of Ctrl-C.
        pass_descriptors: open files that the command inherits, for example locks that it must hold.
    """
    mode = ["guard", str(os.getpid())] if family else ["become", str(os.getpid()), str(end_signal)]
    sink = log.open("ab") if log is not None else subprocess.DEVNULL
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "forge_pipelines.processes", *mode, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if capture else sink,
            stderr=sink,
            env={**_POLITE, **os.environ, **(environment or {})},
            cwd=folder,
            text=True,
            errors="replace",
            start_new_session=family,
            pass_fds=pass_descriptors,
        )
    finally:
        if log is not None:
            sink.close()  # type: ignore[union-attr]


def detach(command: Sequence[str], *, log: Path) -> Child:
    """Start a command that does not end with this process: in a session of its own, and nobody's child.

    Returns:
        What started the command; its standard output, a pipe of lines, is the command's.
    """
    with log.open("ab") as sink:
        starter = subprocess.Popen(
            [sys.executable, "-m", "forge_pipelines.processes", "detach", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=sink,
            text=True,
        )
    starter.wait()
    return starter


def run(
    command: Sequence[str],
    on_line: Callable[[str], None],
    *,
    environment: Mapping[str, str] | None = None,
    log: Path,
    folder: Path | None = None,
    on_silence: Callable[[], None] | None = None,
    pass_descriptors: Sequence[int] = (),
) -> int:
    """Run a command to its end, give each line of its standard output to ``on_line``, and return its exit code.

    Whatever ends this call (the command's end, an exception, Ctrl-C), no descendant of the command is left.
    ``on_silence`` is called after each second in which the command printed nothing. What is passed on (see `start`) the
    command's guard holds, too: until the last descendant is gone, even if this process is killed.
    """
    child = start(
        command,
        environment=environment,
        log=log,
        folder=folder,
        capture=True,
        family=True,
        pass_descriptors=pass_descriptors,
    )
    assert child.stdout is not None
    try:
        for line in _lines(child.stdout.fileno()):
            if line is not None:
                on_line(line)
            elif on_silence is not None:
                on_silence()
        return child.wait()
    finally:
        end(child)
        child.stdout.close()


def _lines(pipe: int) -> Iterator[str | None]:
    """Yield what is written into a pipe, line by line, and None for each second of silence."""
    unfinished = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if not selector.select(_SILENCE_SECONDS):
                yield None
                continue
            chunk = os.read(pipe, _CHUNK_BYTES)
            if not chunk:
                break
            *lines, unfinished = (unfinished + chunk).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
    if unfinished:
        yield unfinished.decode(errors="replace")


def transform(command: Sequence[str], content: bytes, timeout_seconds: float) -> Transformed:
    """Give a command bytes, and return what it makes of them; no descendant of it is left.

    Args:
        command: the program and its arguments; it ends when this process does.
        content: its standard input, which it need not read.
        timeout_seconds: how long it may take.

    Raises:
        TimeoutError: it took longer, and was ended.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "forge_pipelines.processes", "guard", str(os.getpid()), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**_POLITE, **os.environ},
        start_new_session=True,
    ) as child:
        try:
            output, complaints = child.communicate(content, timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{command[0]} took more than {timeout_seconds:g} seconds") from error
        finally:
            end(child)
    lines = complaints.decode("utf-8", "replace").strip().splitlines()
    return Transformed(child.returncode, output, lines[-1] if lines else "")


def end(child: Child | subprocess.Popen[bytes], grace_seconds: float = 5.0) -> None:
    """End a child and all its descendants: SIGTERM, then SIGKILL to those that are left after the grace."""
    if child.poll() is not None:
        return  # its number may be another process's by now
    try:
        descendants = psutil.Process(child.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        descendants = []
    child.terminate()
    _end_all(descendants, grace_seconds)
    # Not among those: psutil would take the child's exit code away from it.
    try:
        child.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def await_end(child: Child, patience_seconds: float) -> None:
    """Let a child end by itself; end it, with all its descendants, when it has not after a while."""
    with suppress(subprocess.TimeoutExpired):
        child.wait(patience_seconds)
    end(child)


def _end_all(family: list[psutil.Process], grace_seconds: float) -> None:
    for process in family:
        _signal(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=grace_seconds)
    for process in alive:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=grace_seconds)


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) failed")


def _become(parent_pid: int, end_signal: int, command: list[str]) -> None:
    """Tie this process to its parent, then turn into the command."""
    die_with_parent(parent_pid, end_signal)
    _execute(command)


def _execute(command: list[str]) -> None:
    try:
        os.execvp(command[0], command)
    except FileNotFoundError:
        sys.stderr.write(f"the program {command[0]} is not installed\n")
        sys.exit(1)


def fork(work: Callable[[], None], with_signal: int) -> int:
    """Do work in a copy of this process, which has one thread, and return the copy's number.

    The copy is sent a signal when this process ends. An exception that ends the work is written to standard error,
    and the copy's exit code is 1.
    """
    parent_pid = os.getpid()
    pid = os.fork()
    if pid != 0:
        return pid
    code = 1
    try:
        die_with_parent(parent_pid, with_signal)
        work()
        code = 0
    except SystemExit as end_of_work:
        code = end_of_work.code if isinstance(end_of_work.code, int) else 1
    except BaseException:  # noqa: BLE001 - nothing may return into the copied frames of the parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def guard(parent_pid: int, work: Callable[[], None]) -> int:
    """Do work in a child of this process, adopt what it orphans, and end all of it when it ends or the parent does.

    For a process that has no children yet and one thread: it is the guard from now on.

    Args:
        parent_pid: this process's parent.
        work: ends the child, or returns; an exception is written to standard error.

    Returns:
        The child's exit code; the number of a signal that ended it, negative.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    guard_pid = os.getpid()
    os.environ[_GUARDED] = f"{parent_pid} by {guard_pid}"
    work_pid = fork(work, with_signal=signal.SIGKILL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        die_with_parent(parent_pid, signal.SIGTERM)
        ended_pid = 0
        while ended_pid != work_pid:
            ended_pid, status = os.wait()
        return os.waitstatus_to_exitcode(status)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        grace_seconds = 5.0 if os.getppid() == parent_pid else 1.0  # nobody is left to hear what they would finish
        while family := psutil.Process().children(recursive=True):
            _end_all(family, grace_seconds)


def _end_alike(code: int) -> int:
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _detach(command: list[str]) -> None:
    """Leave the command behind in a session of its own."""
    if os.fork() == 0:
        os.setsid()
        os.execvp(command[0], command)


def _main(mode: str, arguments: list[str]) -> int:
    if mode == "guard":
        command = arguments[1:]
        return _end_alike(guard(int(arguments[0]), lambda: _execute(command)))
    if mode == "detach":
        _detach(arguments)
    else:
        _become(int(arguments[0]), int(arguments[1]), arguments[2:])
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], sys.argv[2:]))
