"""Which backend runs a step: the only place that knows that there are several."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.executor.step_delegating import CheckStepHealthResult, StepHandler, StepHandlerContext

from forge_assets.attempts import ledger_of
from forge_assets.executor.cluster import cluster_of
from forge_assets.executor.kubernetes import kubernetes_handler
from forge_assets.executor.local import LocalSteps, only_step
from forge_assets.executor.outcomes import OpenAttempt, Outcomes, Usage
from forge_assets.instance import NOTHING_LEAVES_A_STEP
from forge_assets.settings import STEP_VARIABLE, Settings
from forge_pipelines.errors import ConfigError
from forge_pipelines.gpu.request import GpuRequest


class RoutedSteps(StepHandler):
    """Sends steps with GPUs to a cluster where one is configured, and all others to this machine's processes."""

    def __init__(self, local: LocalSteps, cluster: StepHandler | None, outcomes: Outcomes, *, all_steps: bool) -> None:
        self._local = local
        self._cluster = cluster
        self._outcomes = outcomes
        self._all_steps = all_steps
        self._in_cluster: dict[str, tuple[OpenAttempt, float, int]] = {}  # step → its attempt, its launch, its devices

    @classmethod
    def of(cls, settings: Settings, kubernetes: Mapping[str, Any] | None) -> "RoutedSteps":
        """Build the backends that are configured.

        Raises:
            ConfigError: the cluster's configuration is wrong, or the extra `kubernetes` is not installed.
        """
        outcomes = Outcomes(ledger_of(settings))
        local = LocalSteps(settings, outcomes)
        cluster = cluster_of(settings, kubernetes)
        if cluster is None:
            return cls(local, None, outcomes, all_steps=False)
        return cls(
            local,
            kubernetes_handler(cluster, {**NOTHING_LEAVES_A_STEP, STEP_VARIABLE: "cluster"}),
            outcomes,
            all_steps=cluster.cpu_steps,
        )

    @property
    def name(self) -> str:
        """Return what Dagster calls this handler in the run's log."""
        return "Forge"

    @contextmanager
    def serving(self, job: ReconstructableJob, run_id: str) -> Iterator[None]:
        """Have what the backends need while the context lasts."""
        with self._local.serving(job, run_id):
            yield

    def attend(self) -> None:
        """Take what this machine's processes have reported."""
        self._local.attend()

    def hear(self, event: dg.DagsterEvent) -> None:
        """Take note of an event that has reached the run's log."""
        self._outcomes.hear(event)
        if event.step_key in self._in_cluster and (
            event.is_step_success or event.is_step_failure or event.is_step_up_for_retry
        ):
            attempt, launched, count = self._in_cluster.pop(event.step_key)
            names = tuple(f"{number + 1} of {count} in the cluster" for number in range(count))
            self._outcomes.use(attempt, Usage(wall_seconds=time.monotonic() - launched, devices=names))

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[dg.DagsterEvent]:
        """Launch a step where it belongs; one whose tags mean nothing is reported as failed."""
        step = only_step(step_handler_context)
        try:
            request = GpuRequest.of_tags(step_handler_context.step_tags[step])
        except ConfigError as error:
            attempt = self._outcomes.begin(step_handler_context, step, GpuRequest(count=0))
            self._outcomes.refuse(step_handler_context, attempt, error)
            return
        attempt = self._outcomes.begin(step_handler_context, step, request)
        handler = self._handler(request)
        if handler is not self._local:
            self._in_cluster[step] = attempt, time.monotonic(), request.count
        yield from handler.launch_step(step_handler_context)

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Ask the backend that has the step; one that it says has died is reported as failed, by the platform."""
        step = only_step(step_handler_context)
        attempt = self._outcomes.latest(step)
        if attempt is not None and attempt.outcome is not None:
            return CheckStepHealthResult.healthy()
        health = self._of(step_handler_context).check_step_health(step_handler_context)
        if not health.is_healthy and attempt is not None and step in self._in_cluster:
            self._outcomes.fail(step_handler_context, attempt, f"failed: {health.unhealthy_reason}")
            return CheckStepHealthResult.healthy()
        return health

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[dg.DagsterEvent]:
        """Have the backend that has the step end it."""
        attempt = self._outcomes.latest(only_step(step_handler_context))
        if attempt is None or attempt.outcome is None:
            yield from self._of(step_handler_context).terminate_step(step_handler_context)

    def _of(self, context: StepHandlerContext) -> StepHandler:
        return self._handler(GpuRequest.of_tags(context.step_tags[only_step(context)]))

    def _handler(self, request: GpuRequest) -> StepHandler:
        in_cluster = self._cluster is not None and (self._all_steps or request.count > 0)
        return self._cluster if self._cluster is not None and in_cluster else self._local
