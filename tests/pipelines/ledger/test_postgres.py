"""The embedded PostgreSQL: shared, and gone with its last user; and a server that a site names."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from forge_pipelines.errors import ConfigError, PlatformError
from forge_pipelines.ledger.addresses import socket_folder
from forge_pipelines.ledger.postgres import exclusive, postgres

# Uses the server, says so, and goes on until its standard input is closed.
USER = """
import sys
from pathlib import Path
from forge_pipelines.ledger.postgres import postgres
with postgres(Path(sys.argv[1]), None) as databases:
    print(databases.forge, flush=True)
    sys.stdin.read()
"""


@contextmanager
def user_of(home: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", USER, str(home)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def server_processes(home: Path) -> list[psutil.Process]:
    """Every keeper and server of a home, told by its command line, and all their children."""
    found = set()
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any("ledger.keeper" in word for word in words) and str(home) in words:
            found |= {process}
        if str(home / "postgres" / "data") in words:
            with suppress(psutil.NoSuchProcess):
                found |= {process, *process.children(recursive=True)}
    return list(found)


def told_by_servers(home: Path, question: Callable[[psutil.Process], Any]) -> list[Any]:
    """What `server_processes` answer, but those that ended meanwhile, as a session of the server does."""
    answers = []
    for process in server_processes(home):
        with suppress(psutil.NoSuchProcess):
            answers.append(question(process))
    return answers


def command_of(process: psutil.Process) -> list[str]:
    """Return its command line: nothing where it has ended meanwhile."""
    with suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


def wait_until(condition: Callable[[], Any], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


def ask(url: str, query: str) -> Any:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(query)
        answer = cursor.fetchone() if cursor.description else None
    connection.close()
    return answer


def test_what_is_written_is_there_at_the_next_start_and_nothing_runs_between(tmp_path: Path) -> None:
    with postgres(tmp_path, None) as databases:
        ask(databases.forge, "CREATE TABLE kept AS SELECT 42 AS answer")
        assert ask(databases.dagster, "SELECT current_database()") == ("dagster",)
        assert ask(databases.mlflow, "SELECT current_database()") == ("mlflow",)
        assert ask(databases.forge, "SHOW fsync") == ("on",)
    assert server_processes(tmp_path) == []
    started = time.monotonic()
    with postgres(tmp_path, None) as databases:
        assert time.monotonic() - started < 5
        assert ask(databases.forge, "SELECT answer FROM kept") == (42,)


def test_it_listens_on_a_unix_socket_alone_behind_a_private_folder(tmp_path: Path) -> None:
    with postgres(tmp_path, None):
        connections = chain.from_iterable(told_by_servers(tmp_path, lambda found: found.net_connections("inet")))
        assert [found for found in connections if found.status == psutil.CONN_LISTEN] == []
    assert (tmp_path / "postgres").stat().st_mode & 0o077 == 0


def test_processes_with_one_home_share_a_server_that_ends_with_the_last(tmp_path: Path) -> None:
    with user_of(tmp_path) as first, user_of(tmp_path) as second:
        assert first.stdout and second.stdout
        address = first.stdout.readline().strip()
        assert second.stdout.readline().strip() == address
        servers = [found for found in server_processes(tmp_path) if "-D" in command_of(found)]
        assert len(servers) == 1
        first.communicate()
        assert first.returncode == 0
        assert ask(address, "SELECT 1") == (1,)
        second.communicate()
        assert server_processes(tmp_path) == []


def test_kill_9_of_the_last_user_leaves_no_server(tmp_path: Path) -> None:
    with user_of(tmp_path) as user:
        assert user.stdout and user.stdout.readline()
        assert server_processes(tmp_path)
        user.kill()
        assert wait_until(lambda: not server_processes(tmp_path))


def test_kill_9_of_the_keeper_leaves_no_server_and_the_next_user_starts_another(tmp_path: Path) -> None:
    with user_of(tmp_path) as user:
        assert user.stdout and user.stdout.readline()
        keeper = next(found for found in server_processes(tmp_path) if "ledger.keeper" in " ".join(command_of(found)))
        keeper.kill()
        with postgres(tmp_path, None) as databases:
            assert ask(databases.forge, "SELECT 1") == (1,)
            assert len([found for found in server_processes(tmp_path) if "-D" in command_of(found)]) == 1


def test_a_server_that_is_killed_is_started_again_with_what_was_committed(tmp_path: Path) -> None:
    with postgres(tmp_path, None) as databases:
        ask(databases.forge, "CREATE TABLE kept AS SELECT 42 AS answer")
        server = next(found for found in server_processes(tmp_path) if "-D" in command_of(found))
        server.kill()

        def answers() -> bool:
            try:
                return ask(databases.forge, "SELECT answer FROM kept") == (42,)
            except psycopg2.OperationalError:
                return False

        assert wait_until(answers, seconds=20)


def test_users_that_come_and_go_at_once_always_find_a_server(tmp_path: Path) -> None:
    brief = "from pathlib import Path; import sys; from forge_pipelines.ledger.postgres import postgres\n" + (
        "for _ in range(4):\n    with postgres(Path(sys.argv[1]), None): pass"
    )
    users = [subprocess.Popen([sys.executable, "-c", brief, str(tmp_path)]) for _ in range(4)]
    assert [user.wait() for user in users] == [0, 0, 0, 0]
    assert wait_until(lambda: not server_processes(tmp_path))


def test_a_home_with_a_long_path_and_odd_characters_works(tmp_path: Path) -> None:
    home = tmp_path / ("a very long name, 100 % odd " * 5)
    with postgres(home, None) as databases:
        assert ask(databases.forge, "SELECT 1") == (1,)
    socket_folder(home).rmdir()


def test_a_named_server_is_used_and_given_the_databases_that_it_lacks(tmp_path: Path) -> None:
    with postgres(tmp_path, None) as embedded:
        ask(embedded.forge, "DROP DATABASE mlflow")
        with postgres(tmp_path / "unused", embedded.forge) as named:
            assert ask(named.mlflow, "SELECT current_database()") == ("mlflow",)
            assert named.dagster == embedded.dagster
            assert not (tmp_path / "unused").exists()


def test_an_account_that_may_not_create_databases_is_told_which_are_missing(tmp_path: Path) -> None:
    with postgres(tmp_path, None) as embedded:
        ask(embedded.forge, "CREATE ROLE meek LOGIN")
        ask(embedded.forge, "DROP DATABASE mlflow")
        url = embedded.forge.replace("postgres@", "meek:secret@")
        with (
            pytest.raises(PlatformError, match="does not create the database mlflow") as refusal,
            postgres(tmp_path, url),
        ):
            pass
        assert "secret" not in str(refusal.value)


def test_a_server_that_cannot_be_reached_is_one_sentence_within_seconds_and_without_the_password(
    tmp_path: Path,
) -> None:
    started = time.monotonic()
    url = "postgresql://forge:secret@127.0.0.1:1/forge"
    with pytest.raises(PlatformError) as refusal, postgres(tmp_path, url):
        pass
    assert str(refusal.value) == (
        "PostgreSQL at 127.0.0.1:1/forge cannot be reached (Connection refused): "
        "start it, or correct FORGE_POSTGRES_URL"
    )
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "url",
    ["postgresql://a:secret@host:port/db", "postgresql://a:secret@[host/db", "mysql://a:secret@host/db", "secret"],
)
def test_an_address_that_is_none_is_refused_without_the_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="FORGE_POSTGRES_URL") as refusal, postgres(tmp_path, url):
        pass
    assert "secret" not in str(refusal.value)


def test_a_damaged_server_is_one_sentence_that_names_its_log(tmp_path: Path) -> None:
    with postgres(tmp_path, None):
        pass
    (tmp_path / "postgres" / "data" / "global" / "pg_control").write_bytes(b"damaged")
    with (
        pytest.raises(PlatformError, match=r"does not start in .*; its log says why: .*postgres\.log"),
        postgres(tmp_path, None),
    ):
        pass
    assert wait_until(lambda: not server_processes(tmp_path))


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        with pytest.raises(PlatformError, match="is full; free some space"), postgres(tmp_path / "home", None):
            pass
        assert wait_until(lambda: not server_processes(tmp_path / "home"))
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_one_process_at_a_time_holds_an_exclusive_task(tmp_path: Path) -> None:
    with postgres(tmp_path, None) as databases:
        with exclusive(databases.forge, "migrate"):
            taken = "SELECT pg_try_advisory_lock(hashtext('migrate'))"
            assert ask(databases.forge, taken) == (False,)
        assert ask(databases.forge, taken) == (True,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
def test_root_runs_it_as_another_account_without_opening_a_folder_to_it(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with postgres(closed / "home", None) as databases:
        assert ask(databases.forge, "SELECT 1") == (1,)
        accounts = told_by_servers(closed / "home", lambda found: found.uids().real)
        assert accounts and 0 not in accounts
    assert closed.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
def test_an_ordinary_user_runs_it_too() -> None:
    ordinary: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []}
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, 65534, 65534)
        command = [sys.executable, "-c", USER, home]
        if subprocess.run(["test", "-x", os.path.realpath(sys.executable)], check=False, **ordinary).returncode != 0:
            pytest.skip("this environment's Python is closed to ordinary users")
        assert subprocess.check_output(command, input="", text=True, **ordinary).startswith("postgresql://")


def test_ctrl_c_in_a_user_ends_the_server(tmp_path: Path) -> None:
    with user_of(tmp_path) as user:
        assert user.stdout and user.stdout.readline()
        user.send_signal(signal.SIGINT)
        user.wait(timeout=10)
        assert server_processes(tmp_path) == []
