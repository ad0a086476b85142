"""A machine of declared devices, and steps that lease them, each in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from forge_pipelines.gpu.inventory import Device, devices
from forge_pipelines.gpu.leases import Leases

HOLDER = Path(__file__).parent / "lease_holder.py"


@dataclass
class Step:
    """A step that was started."""

    process: "subprocess.Popen[str]"
    said: list[str] = field(default_factory=list)

    def hears(self, beginning: str) -> str:
        """Return the next line that begins so; what is said before it is kept in ``said``."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.rstrip("\n"))
            if line.startswith(beginning):
                return self.said[-1]
        raise AssertionError(f"it ended without {beginning!r}: {self.said}")

    def end(self) -> None:
        """Let it end by itself."""
        self.process.communicate()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Machine:
    """A folder of leases and a file that declares devices."""

    folder: Path
    inventory: Path
    steps: list[Step] = field(default_factory=list)

    def declare(self, products: Mapping[str, str]) -> None:
        """Declare devices: uuid → product."""
        items = [
            {"uuid": uuid, "name": product, "memory_bytes": 1 << 30, "simulated": True}
            for uuid, product in products.items()
        ]
        draft = self.inventory.with_suffix(".draft")
        draft.write_text(json.dumps(items))
        draft.rename(self.inventory)

    def devices(self) -> tuple[Device, ...]:
        return devices(self.inventory)

    @property
    def leases(self) -> Leases:
        return Leases(self.folder, self.devices)

    def start(self, count: int, step: str, product: str = "", *options: str) -> Step:
        command = [sys.executable, str(HOLDER), str(self.folder), str(self.inventory), str(count), product, step]
        pipe = subprocess.PIPE
        process = subprocess.Popen([*command, *options], stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        self.steps.append(Step(process))
        return self.steps[-1]

    def held(self) -> dict[str, str]:
        """Return who holds what: uuid → step."""
        states = self.leases.state().devices
        return {state.device.uuid: state.tenancy.holder.step for state in states if state.tenancy}

    def waiting(self) -> list[str]:
        return [waiting.holder.step for waiting in self.leases.state().waiting]


@pytest.fixture
def machine_of(tmp_path: Path) -> Iterator[Callable[[Mapping[str, str]], Machine]]:
    """Return a function that makes the machine from its devices, uuid → product; its steps end with the test."""
    machine = Machine(tmp_path / "leases", tmp_path / "inventory.json")

    def make(products: Mapping[str, str]) -> Machine:
        machine.declare(products)
        return machine

    yield make
    for step in machine.steps:
        step.kill()


@pytest.fixture
def machine(machine_of: Callable[[Mapping[str, str]], Machine]) -> Machine:
    """A machine of four equal devices."""
    return machine_of({f"GPU-{index}": "NVIDIA H100" for index in range(4)})
