"""Forks a process for each step from one that has the definitions loaded, and guards it to its end.

`python -m forge_assets.executor.step_server` is started by `local.py`, in the run worker, and ends with it. Two
inherited sockets join them: on one the worker writes requests, a JSON object a line; on the other it reads reports, a
JSON object a datagram, from the server and from the guards. A guard holds the step's GPU lease, and outlives all of
the step's processes.
"""

import json
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from dagster._cli.api import execute_step_command
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._serdes import deserialize_value

import forge_assets.storage  # noqa: F401 - what every step needs is loaded once, here
from forge_assets.leasing import leased
from forge_assets.settings import STEP_VARIABLE, exported
from forge_pipelines import processes
from forge_pipelines.errors import ForgeError
from forge_pipelines.gpu.energy import EnergyMeter
from forge_pipelines.gpu.request import GpuRequest
from forge_pipelines.manifest import Value

_CHUNK_BYTES = 1 << 16


class StepOrder(Value):
    """A step to run. ``launch`` is its number in this run worker; ``arguments`` are `dagster api execute_step`'s."""

    launch: int
    run: str
    step: str
    arguments: str
    gpus: GpuRequest


class StepEnd(Value):
    """How a step ended.

    Attributes:
        code: the exit code of the step's process; the number of the signal that ended it, negative.
        fault: the sentence of a lease that was not given.
        out_of_memory: a process of this machine was killed for its memory meanwhile.
        wall_seconds: since the step began to work; the wait for its devices is left out.
        cpu_seconds: of all its processes.
        energy_joules: drawn by its devices meanwhile; None where nobody counts it.
        devices: the names of those it held.
    """

    code: int
    fault: str | None = None
    out_of_memory: bool = False
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    energy_joules: float | None = None
    devices: tuple[str, ...] = ()


def serve(requests: socket.socket, reports: socket.socket) -> None:
    """Run steps until the worker closes its end or this process is signalled; none of their processes is left then."""
    guards: dict[int, tuple[int, int]] = {}  # pidfd → launch, pid
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd in guards:
                    selector.unregister(key.fd)
                    _report_exit(reports, *guards.pop(key.fd))
                    os.close(key.fd)
                    continue
                chunk = requests.recv(_CHUNK_BYTES)
                if not chunk:
                    return _end_all([pid for _, pid in guards.values()])
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    message = json.loads(line)
                    if "job" in message:
                        deserialize_value(message["job"], ReconstructableJob).get_definition()
                    elif "end" in message:
                        _signal([pid for launch, pid in guards.values() if launch == message["end"]])
                    else:
                        order = StepOrder.model_validate(message)
                        pid = _start(order, requests, reports)
                        descriptor = os.pidfd_open(pid)
                        guards[descriptor] = order.launch, pid
                        selector.register(descriptor, selectors.EVENT_READ)


def _start(order: StepOrder, requests: socket.socket, reports: socket.socket) -> int:
    server_pid = os.getpid()

    def keep() -> None:
        requests.close()
        _keep(order, server_pid, reports)

    return processes.fork(keep, with_signal=signal.SIGTERM)


def _keep(order: StepOrder, server_pid: int, reports: socket.socket) -> None:
    """Be the guard of a step: lease what it asks for, let it work, and say how it ended."""
    end = StepEnd(code=128 + signal.SIGTERM)
    try:
        said = partial(_say, reports, order.launch)
        with (
            exported({STEP_VARIABLE: "local"}),
            leased(order.gpus, order.run, order.step.replace("__", "/"), said) as held,
        ):
            end = end.model_copy(update={"devices": tuple(f"{device.name} ({device.uuid})" for device in held)})
            energy = EnergyMeter([device.uuid for device in held])
            kills, started = _out_of_memory_kills(), time.monotonic()
            try:
                code = processes.guard(server_pid, lambda: _work(order.arguments))
                end = end.model_copy(update={"code": code})
            finally:
                usage = resource.getrusage(resource.RUSAGE_CHILDREN)
                end = end.model_copy(
                    update={
                        "out_of_memory": _out_of_memory_kills() > kills,
                        "wall_seconds": time.monotonic() - started,
                        "cpu_seconds": usage.ru_utime + usage.ru_stime,
                        "energy_joules": energy.joules(seconds_old=0),
                    }
                )
    except ForgeError as error:
        end = StepEnd(code=1, fault=str(error))
    finally:
        _report(reports, order.launch, ended=end.model_dump())


def _work(arguments: str) -> None:
    assert execute_step_command.callback is not None
    execute_step_command.callback(arguments, None)


def _out_of_memory_kills() -> int:
    """Return how many processes the kernel has killed for memory since this machine's start (``/proc/vmstat``)."""
    for line in Path("/proc/vmstat").read_text().splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0


def _say(reports: socket.socket, launch: int, sentence: str) -> None:
    _report(reports, launch, said=sentence)


def _report(reports: socket.socket, launch: int, **said: Any) -> None:
    _send(reports, {"launch": launch, **said})


def _report_exit(reports: socket.socket, launch: int, pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    _send(reports, {"launch": launch, "guard_code": os.waitstatus_to_exitcode(status)})


def _send(reports: socket.socket, message: Mapping[str, Any]) -> None:
    try:
        reports.send(json.dumps(message).encode())
    except BrokenPipeError:
        return  # the worker has ended, and nobody is left to be told


def _signal(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGTERM)


def _end_all(pids: list[int]) -> None:
    """End the guards, each of which first ends its family."""
    _signal(pids)
    for pid in pids:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), socket.socket(fileno=int(sys.argv[2])))
    os._exit(0)  # nothing is left to be written, and taking all definitions apart takes a second
