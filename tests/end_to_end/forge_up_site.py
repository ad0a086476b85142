"""A FORGE_HOME, a module of definitions, and `forge up` on them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from threading import Timer
from typing import Any
from urllib.request import urlopen

import dagster as dg
import psutil
from dagster_graphql import DagsterGraphQLClient
from ports import free_port

from forge_assets.instance import dagster_instance, end_lost_runs
from forge_assets.settings import exported, load_settings


class Site:
    """Everything of one `forge up`, found and ended by its FORGE_HOME."""

    def __init__(self, folder: Path, definitions: str, variables: Mapping[str, str] | None = None) -> None:
        self.home = folder / "home"
        self.port, self.mlflow_port, self.pages_port = free_port(), free_port(), free_port()
        (folder / "acme_up.py").write_text(definitions)
        chosen = {"FORGE_HOME": str(self.home), "FORGE_DEFINITIONS": "acme_up", "PYTHONPATH": str(folder)}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FORGE_")}
        self.environment = {**inherited, **chosen, **(variables or {})}

    @cached_property
    def client(self) -> DagsterGraphQLClient:
        """One for all questions: each asks for the whole schema first."""
        return DagsterGraphQLClient("127.0.0.1", port_number=self.port)

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
            with killed_after(180, process):
                self.said = list(takewhile(lambda line: not line.startswith("ready in"), process.stdout))
            assert process.poll() is None, process.communicate()
        return process

    def run(self, asset: str) -> Callable[[], Any]:
        """Have the site make an asset; return what asks how far it is."""
        run_id = self.client.submit_job_execution("__ASSET_JOB", asset_selection=[dg.AssetKey(asset)])
        return lambda: self.client.get_run_status(run_id)

    def statuses(self) -> list[str]:
        """How the runs stand in the database, the latest first, for the next `forge up`."""
        with exported({"FORGE_HOME": str(self.home)}), dagster_instance(load_settings()) as instance:
            end_lost_runs(instance, load_settings())
            return [run.status.value for run in instance.get_runs()]

    def processes(self) -> list[psutil.Process]:
        """Every process that this site started, told by its environment or its command line."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def kill(self) -> None:
        """Kill every process of the site that is left; some end by themselves when others have."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            named = process.environ().get("FORGE_HOME") == str(self.home)
            return named or any(str(self.home) in word for word in process.cmdline())
        except psutil.Error:
            return False

    def service(self, name: str) -> psutil.Process:
        """One of the services, by a word of its command line."""
        (found,) = self.services(name)
        return found

    def services(self, name: str) -> list[psutil.Process]:
        """The living processes of a service, without its guard."""
        found = [process for process in self.processes() if is_living(process)]
        return [process for process in found if name in command_of(process) and "guard" not in command_of(process)]

    def answers(self) -> bool:
        try:
            return bool(urlopen(f"http://127.0.0.1:{self.port}/server_info").status == 200)
        except OSError:
            return False

    def sleepers(self) -> list[psutil.Process]:
        return [process for process in self.processes() if "time.sleep(600)" in " ".join(command_of(process))]


@contextmanager
def killed_after(seconds: float, process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill a process when the context lasts longer: who waits for what it says then hears its end."""
    watch = Timer(seconds, process.kill)
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


def command_of(process: psutil.Process) -> list[str]:
    """What a process was started as; nothing where it has ended meanwhile."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def is_living(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], Any], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(condition())
