"""`forge up`: everything answers, one Ctrl-C or one kill ends all of it, and each mishap is one sentence."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import dagster as dg
import psutil
import pytest
from dagster_graphql import DagsterGraphQLClient

from forge_assets.cli.up import running_address
from forge_assets.instance import dagster_instance, end_lost_runs
from forge_assets.settings import exported, load_settings

DEFINITIONS = """
import os, subprocess, sys
from pathlib import Path
import dagster as dg
from forge_assets.settings import load_settings

@dg.asset
def quick():
    Path(os.environ["FORGE_HOME"], "found.json").write_text(load_settings().model_dump_json())

@dg.asset
def slow():
    subprocess.run([sys.executable, "-c", "import time; time.sleep(600)"])

defs = dg.Definitions(assets=[quick, slow])
"""


def free_ports() -> tuple[int, int, int]:
    with socket.socket() as first, socket.socket() as second, socket.socket() as third:
        for each in (first, second, third):
            each.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1], third.getsockname()[1]


class Site:
    """A FORGE_HOME, a module of definitions, and `forge up` on them."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.port, self.mlflow_port, self.pages_port = free_ports()
        (folder / "acme_up.py").write_text(DEFINITIONS)
        chosen = {"FORGE_HOME": str(self.home), "FORGE_DEFINITIONS": "acme_up", "PYTHONPATH": str(folder)}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FORGE_")}
        self.environment = {**inherited, **chosen}

    @property
    def _ports(self) -> list[str]:
        ports = {"--port": self.port, "--mlflow-port": self.mlflow_port, "--pages-port": self.pages_port}
        return [word for option, port in ports.items() for word in (option, str(port))]

    def up(self, *, ready: bool = True) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "forge_assets.cli", "up"]
        process = subprocess.Popen(
            [*command, *self._ports],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if ready:
            assert process.stdout is not None
            self.said = list(takewhile(lambda line: not line.startswith("ready in"), process.stdout))
            assert process.poll() is None, process.communicate()
        return process

    def run(self, asset: str) -> Callable[[], Any]:
        """Have the site make an asset; return what asks how far it is."""
        client = DagsterGraphQLClient("127.0.0.1", port_number=self.port)
        run_id = client.submit_job_execution("__ASSET_JOB", asset_selection=[dg.AssetKey(asset)])
        return lambda: client.get_run_status(run_id)

    def statuses(self) -> list[str]:
        """How the runs stand in the database, the latest first, for the next `forge up`."""
        with exported({"FORGE_HOME": str(self.home)}), dagster_instance(load_settings()) as instance:
            end_lost_runs(instance)
            return [run.status.value for run in instance.get_runs()]

    def processes(self) -> list[psutil.Process]:
        """Every process that this site started, told by its environment or its command line."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            named = process.environ().get("FORGE_HOME") == str(self.home)
            return named or any(str(self.home) in word for word in process.cmdline())
        except psutil.Error:
            return False

    def sleepers(self) -> list[psutil.Process]:
        return [process for process in self.processes() if "time.sleep(600)" in " ".join(process.cmdline())]


def wait_until(condition: Callable[[], Any], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(condition())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    for process in site.processes():
        process.kill()


def test_it_answers_runs_what_is_asked_with_its_own_settings_and_ctrl_c_ends_all(site: Site) -> None:
    up = site.up()
    address = f"http://127.0.0.1:{site.port}"
    assert running_address(site.home) == address
    assert urlopen(f"{address}/server_info").status == 200
    assert urlopen(f"http://127.0.0.1:{site.mlflow_port}/health").read() == b"OK"
    status = site.run("quick")
    assert wait_until(lambda: status() == dg.DagsterRunStatus.SUCCESS, 60)
    found = (site.home / "found.json").read_text()
    assert f'"mlflow_url":"http://127.0.0.1:{site.mlflow_port}"' in found
    assert f'"home":"{site.home}"' in found

    second = site.up(ready=False)
    assert second.communicate() == (
        "",
        f"forge: `forge up` runs already on {site.home} ({address}): use it, or end it first\n",
    )
    assert second.returncode == 1

    site.run("slow")
    assert wait_until(site.sleepers, 60)
    listening = [found for process in site.processes() for found in process.net_connections("inet")]
    assert {found.laddr.ip for found in listening if found.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    up.send_signal(signal.SIGINT)
    assert up.wait(timeout=30) == 0
    assert site.processes() == []
    assert running_address(site.home) is None
    assert site.statuses() == ["FAILURE", "SUCCESS"]


def test_kill_9_in_the_middle_of_a_run_leaves_no_process(site: Site) -> None:
    up = site.up()
    site.run("slow")
    assert wait_until(site.sleepers, 60)
    up.kill()
    up.wait()
    assert running_address(site.home) is None
    assert wait_until(lambda: not site.processes(), 15), site.processes()
    assert site.statuses() == ["FAILURE"]


def test_a_service_that_ends_is_named_with_its_log_and_ends_the_rest(site: Site) -> None:
    up = site.up()
    next(
        found for found in site.processes() if "dagster_webserver" in found.cmdline() and "guard" not in found.cmdline()
    ).kill()
    _, said = up.communicate(timeout=30)
    log = site.home / "logs" / "web-ui.log"
    assert said == f"forge: Web UI has ended (signal 9), and so ends the rest; its log says why: {log}\n"
    assert up.returncode == 1
    assert site.processes() == []


def test_a_port_that_is_taken_is_one_sentence(site: Site) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", site.port))
        taken.listen()
        up = site.up(ready=False)
        _, said = up.communicate(timeout=60)
    assert said == (
        f"forge: port {site.port} cannot be used (Address already in use): "
        "end the program that has it, or give --port another\n"
    )
    assert up.returncode == 1
    assert wait_until(lambda: not site.processes(), 5)


def test_definitions_that_do_not_load_are_said_and_the_web_ui_shows_them(site: Site, tmp_path: Path) -> None:
    (tmp_path / "acme_up.py").write_text("raise ValueError('the corpus says nothing')")
    up = site.up()
    assert any("do not load" in line and "the corpus says nothing" in line for line in site.said), site.said
    up.send_signal(signal.SIGTERM)
    assert up.wait(timeout=30) == 0
    assert site.processes() == []
