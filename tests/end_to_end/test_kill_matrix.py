"""A run ends whatever kills it: its state is final, no process is left and no device is held, within 30 seconds.

`make test` kills each part once; `make soak` each pair of them, too. `make soak` prints the table.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import combinations
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster_graphql import ReloadRepositoryLocationStatus
from forge_up_site import Site, command_of, wait_until

from forge_pipelines.gpu.inventory import devices
from forge_pipelines.gpu.leases import Leases

DEFINITIONS = """
import sys
import dagster as dg
from forge_assets.platform import forge_platform
from forge_pipelines import processes

RANK = '''
import os, sys, time
from forge_pipelines.gpu.joining import join_lease
from forge_pipelines.processes import die_with_parent
die_with_parent(os.getppid())
join_lease(os.environ["FORGE_GPU_LEASE"])
print("ready", flush=True)
time.sleep(600)
'''

@dg.asset(op_tags={"nvidia.com/gpu": "2"}, retry_policy=dg.RetryPolicy(max_retries=0))
def works_for_long(context):
    said = []
    command = [sys.executable, "-c", RANK]
    code = processes.run(command, said.append, log=__import__("pathlib").Path("/dev/null"))
    raise RuntimeError(f"the rank ended with {code}")

jobs = [dg.define_asset_job("long", tags={"dagster/max_retries": "0"})]
defs = dg.Definitions.merge(dg.Definitions(assets=[works_for_long], jobs=jobs), forge_platform())
"""
PARTS = ("run worker", "step server", "guard", "step", "rank", "code server", "daemon")
ALONE = [(part,) for part in PARTS]
SOAK = "FORGE_SOAK" in os.environ
FAULTS = [*ALONE, *combinations(PARTS, 2)] if SOAK else ALONE
FINAL_SECONDS = 30
TABLE: list[tuple[str, str, float, int, int]] = []


class Machine(Site):
    """A site with four declared devices."""

    def __init__(self, folder: Path) -> None:
        self.inventory, self.leases = folder / "gpus.json", folder / "leases"
        devices = [{"uuid": f"GPU-{n}", "name": "Trial", "memory_bytes": 1 << 34, "simulated": True} for n in range(4)]
        self.inventory.write_text(json.dumps(devices))
        variables = {"FORGE_GPU_INVENTORY": str(self.inventory), "FORGE_GPU_LEASES": str(self.leases)}
        super().__init__(folder, DEFINITIONS, variables)

    def code_answers(self) -> bool:
        """Whether the web UI reaches the code server, as it must for a launch."""
        loaded = self.client.reload_repository_location("forge")
        return bool(loaded.status == ReloadRepositoryLocationStatus.SUCCESS)

    def launch(self) -> str:
        return self.client.submit_job_execution("long")

    def status(self, run: str) -> dg.DagsterRunStatus:
        return self.client.get_run_status(run)

    def cancel(self, run: str) -> None:
        self.client.terminate_run(run)

    def held(self) -> int:
        state = Leases(self.leases, lambda: devices(self.inventory)).state()
        return sum(device.tenancy is not None for device in state.devices)

    def parts(self, run: str) -> dict[str, psutil.Process]:
        """The processes of a run whose rank works, from the worker down, and the two services."""
        rank = next(iter(self.sleepers_last()))
        worker = psutil.Process(json.loads((self.home / "runs" / f"{run}.json").read_text())["pid"])
        server = next(child for child in worker.children() if "forge_assets.executor.step_server" in command_of(child))
        (guard,) = server.children()
        (step,) = [child for child in guard.children() if command_of(child) == command_of(server)]
        services = {"code server": self.service("code-server"), "daemon": self.service("dagster._daemon")}
        return {"run worker": worker, "step server": server, "guard": guard, "step": step, "rank": rank, **services}

    def sleepers_last(self) -> list[psutil.Process]:
        """The ranks that work: not the guards before them."""
        return [found for found in self.sleepers() if "guard" not in command_of(found)]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("matrix"))
    machine.up()
    yield machine
    machine.kill()
    if SOAK:
        print("\nkilled                     | state    | final after | processes left | devices held")
        for fault, state, seconds, left, held in TABLE:
            print(f"{fault:26} | {state:8} | {seconds:9.1f} s | {left:14} | {held}")


def working(machine: Machine) -> str:
    """A run whose rank works on its two devices."""
    assert wait_until(lambda: machine.answers() and machine.code_answers(), 60)
    run = machine.launch()
    assert wait_until(machine.sleepers_last, 60), machine.status(run)
    assert machine.held() == 2
    return run


@pytest.mark.parametrize("fault", FAULTS, ids=" and ".join)
def test_whatever_is_killed_the_run_is_final_its_processes_end_and_its_devices_are_free(
    machine: Machine, fault: tuple[str, ...]
) -> None:
    run = working(machine)
    parts = machine.parts(run)
    for part in fault:
        with suppress(psutil.NoSuchProcess):  # it ended with the one before
            parts[part].kill()
    started = time.monotonic()
    if fault == ("daemon",):  # that is none of the run's affair
        assert wait_until(lambda: not parts["daemon"].is_running() and machine.services("dagster._daemon"), 20)
        assert machine.status(run) == dg.DagsterRunStatus.STARTED and machine.sleepers()
        machine.cancel(run)
    ended = {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
    final = wait_until(lambda: machine.answers() and machine.status(run) in ended, FINAL_SECONDS)
    seconds = time.monotonic() - started
    wait_until(lambda: not machine.sleepers() and machine.held() == 0, 10)
    left, held = len(machine.sleepers()), machine.held()
    TABLE.append((" + ".join(fault), machine.status(run).value, seconds, left, held))
    assert final, machine.status(run)
    assert (left, held) == (0, 0)


def test_cancelling_ends_every_process(machine: Machine) -> None:
    run = working(machine)
    machine.cancel(run)
    canceled = dg.DagsterRunStatus.CANCELED
    assert wait_until(lambda: machine.status(run) == canceled, FINAL_SECONDS), machine.status(run)
    assert wait_until(lambda: not machine.sleepers() and machine.held() == 0, FINAL_SECONDS)
