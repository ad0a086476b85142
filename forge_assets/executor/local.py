"""Steps on this machine: the run worker's side of the step server."""

import json
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.executor.step_delegating import CheckStepHealthResult, StepHandler, StepHandlerContext
from dagster._serdes import serialize_value

from forge_assets.executor.outcomes import OpenAttempt, Outcomes, Usage
from forge_assets.executor.step_server import StepEnd, StepOrder
from forge_assets.leasing import check_possible
from forge_assets.settings import Settings
from forge_pipelines import processes
from forge_pipelines.errors import ConfigError
from forge_pipelines.gpu.request import GpuRequest

_SERVER_END_SECONDS = 10.0
_RESULT_SECONDS = 30.0
_DATAGRAM_BYTES = 1 << 16


@dataclass(slots=True)
class _Launch:
    """A step that was handed to the server; ``ended`` is when its guard was gone."""

    attempt: OpenAttempt
    context: StepHandlerContext
    end: StepEnd | None = None
    ended: float | None = None
    cancelled: bool = False


class LocalSteps(StepHandler):
    """Runs each step in processes of its own on this machine, leasing the devices that it asks for."""

    def __init__(self, settings: Settings, outcomes: Outcomes) -> None:
        self._settings = settings
        self._outcomes = outcomes
        self._launches: dict[int, _Launch] = {}
        self._server: _Server | None = None
        self._job: ReconstructableJob | None = None

    @property
    def name(self) -> str:
        """Return what Dagster calls this handler in the run's log."""
        return "local processes"

    @contextmanager
    def serving(self, job: ReconstructableJob, run_id: str) -> Iterator[None]:
        """Have the definitions loaded where steps are forked, while the context lasts; no step outlives it."""
        self._job, self._log = job, self._settings.logs / run_id / "steps.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._server = _Server(self._log, job)
        try:
            yield
        finally:
            self._server.close()
            self.attend()

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[dg.DagsterEvent]:
        """Hand a step to the server; a request that this machine cannot ever meet fails the step at once."""
        step, arguments = only_step(step_handler_context), step_handler_context.execute_step_args
        request, attempt = GpuRequest.of_tags(step_handler_context.step_tags[step]), self._outcomes.latest(step)
        assert attempt is not None
        try:
            check_possible(request, self._settings)
        except ConfigError as error:
            self._outcomes.refuse(step_handler_context, attempt, error)
        else:
            number = len(self._launches) + 1
            self._launches[number] = _Launch(attempt, step_handler_context)
            order = StepOrder(
                launch=number, run=arguments.run_id, step=step, arguments=serialize_value(arguments), gpus=request
            )
            self._require_server().request(order.model_dump())
        yield from ()

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Say whether this worker has launched the step: what an earlier worker launched ended with it."""
        step = only_step(step_handler_context)
        if any(launch.attempt.key.step == step for launch in self._launches.values()):
            return CheckStepHealthResult.healthy()
        return CheckStepHealthResult.unhealthy("its processes ended with the run worker that had started them")

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[dg.DagsterEvent]:
        """End a step with all its processes."""
        step = only_step(step_handler_context)
        for number, launch in self._launches.items():
            if launch.attempt.key.step == step and launch.ended is None:
                launch.cancelled = True
                self._require_server().request({"end": number})
        yield from ()

    def attend(self) -> None:
        """Take what server and guards have reported, and fail the steps that can report nothing any more.

        Those ended at an earlier call: the run's log, read since, holds what they had written there before.
        """
        self._fail_the_silent()
        server = self._require_server()
        for report in server.reports():
            launch = self._launches[report["launch"]]
            if "said" in report:
                launch.context.get_step_context(launch.attempt.key.step).log.info(report["said"])
            elif "ended" in report:
                launch.end = StepEnd.model_validate(report["ended"])
            else:
                self._settle(launch, launch.end or StepEnd(code=report["guard_code"]))
        if not server.closed and not server.alive:
            for launch in self._launches.values():
                if launch.ended is None:
                    self._settle(
                        launch, StepEnd(code=-signal.SIGKILL, fault="the process that had started it was killed")
                    )
            assert self._job is not None
            self._server = _Server(self._log, self._job)

    def _settle(self, launch: _Launch, end: StepEnd) -> None:
        launch.end, launch.ended = end, time.monotonic()
        if launch.cancelled:
            self._outcomes.cancel(launch.attempt)
        used = end.model_dump(include={"wall_seconds", "cpu_seconds", "energy_joules", "devices"})
        self._outcomes.use(launch.attempt, Usage.model_validate(used))

    def _fail_the_silent(self) -> None:
        """Fail steps whose processes are gone without a result: at once where that is sure, else after a while."""
        for launch in self._launches.values():
            if launch.ended is None or launch.end is None or launch.attempt.outcome is not None:
                continue
            if launch.end.code != 0 or time.monotonic() - launch.ended > _RESULT_SECONDS:
                self._outcomes.fail(launch.context, launch.attempt, _why(launch.end))

    def _require_server(self) -> "_Server":
        assert self._server is not None, "launched outside `serving`"
        return self._server


class _Server:
    """The step server's process, and the two sockets to it."""

    def __init__(self, log: Path, job: ReconstructableJob) -> None:
        self._requests, theirs = socket.socketpair()
        self._reports, guards = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.closed = False
        with theirs, guards:
            self._process = processes.start(
                [sys.executable, "-m", "forge_assets.executor.step_server", str(theirs.fileno()), str(guards.fileno())],
                log=log,
                pass_descriptors=(theirs.fileno(), guards.fileno()),
            )
        self._reports.setblocking(False)
        self.request({"job": serialize_value(job)})

    @property
    def alive(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def request(self, message: dict[str, Any]) -> None:
        """Send a request; one to a server that is gone is found out by `alive`."""
        try:
            self._requests.sendall(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            return

    def reports(self) -> Iterator[dict[str, Any]]:
        """Yield what has been reported."""
        while True:
            try:
                datagram = self._reports.recv(_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            if not datagram:
                return
            yield json.loads(datagram)

    def close(self) -> None:
        """Let the server end its steps and itself."""
        self.closed = True
        self._requests.close()
        processes.await_end(self._process, _SERVER_END_SECONDS)


def only_step(context: StepHandlerContext) -> str:
    """Return the step that a context is about."""
    keys = context.execute_step_args.step_keys_to_execute
    assert keys and len(keys) == 1
    return keys[0]


def _why(end: StepEnd) -> str:
    if end.fault is not None:
        return f"failed: {end.fault}"
    if end.code == -signal.SIGKILL and end.out_of_memory:
        return "was killed by the kernel because memory ran out: run less beside it, or make its batches smaller"
    if end.code < 0:
        return f"was ended by {signal.Signals(-end.code).name}"
    if end.code == 0:
        return "has ended, and its result did not reach the database"
    return f"ended with exit code {end.code} before it could say why; the log of the step has its last words"
