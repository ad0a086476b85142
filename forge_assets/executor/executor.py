"""`forge_executor`: runs a run's steps, wherever each one's request for GPUs sends it."""

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.executor_definition import multiple_process_executor_requirements
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode, get_retries_config
from dagster._core.executor.init import InitExecutorContext
from dagster._core.executor.step_delegating import StepDelegatingExecutor
from sqlalchemy.exc import DBAPIError

from forge_assets.executor.routing import RoutedSteps
from forge_assets.executor.workers import work_to_the_end
from forge_assets.settings import load_settings
from forge_pipelines.processes import available_cores

_LOOP_SECONDS = 0.1
_DATABASE_SECONDS = 90.0
_LATE_SECONDS = 5.0
"""Two that write to the log at once: the event with the lower number may stand there so much later."""


class ForgeExecutor(StepDelegatingExecutor):
    """Dagster's executor of delegated steps, which goes on when the database was away for a while."""

    def __init__(self, handler: RoutedSteps, retries: RetryMode, max_concurrent: int | None) -> None:
        super().__init__(
            handler,
            retries,
            sleep_seconds=_LOOP_SECONDS,
            check_step_health_interval_seconds=1,
            max_concurrent=max_concurrent,
            should_verify_step=False,
        )
        self._handler = handler
        self._cursors: deque[tuple[float, str | None]] = deque([(0.0, None)])  # when the log was read, and how far

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Run the plan's steps; none of their processes is left when this ends."""
        self._give_sign = work_to_the_end(load_settings().home, plan_context.run_id)
        with self._handler.serving(plan_context.reconstructable_job, plan_context.run_id):
            yield from super().execute(plan_context, execution_plan)

    def _pop_events(
        self, instance: dg.DagsterInstance, run_id: str, seen_storage_ids: set[int]
    ) -> Sequence[dg.DagsterEvent]:
        self._give_sign()
        self._handler.attend()
        self._look_back()
        deadline = time.monotonic() + _DATABASE_SECONDS
        while True:
            try:
                events = super()._pop_events(instance, run_id, seen_storage_ids)
            except DBAPIError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
            else:
                break
        self._cursors.append((time.monotonic(), self._event_cursor))
        for event in events:
            self._handler.hear(event)
        return events

    def _look_back(self) -> None:
        """Read on from where the log ended a while ago; what was seen since is left out by its number."""
        late = time.monotonic() - _LATE_SECONDS
        while len(self._cursors) > 1 and self._cursors[1][0] < late:
            self._cursors.popleft()
        self._event_cursor = self._cursors[0][1]


@dg.executor(
    name="forge",
    config_schema={
        "retries": get_retries_config(),
        "max_concurrent": dg.Field(
            dg.Noneable(int), None, description="Steps of one run at a time. Default: half the cores, at least two."
        ),
        "kubernetes": dg.Field(
            dg.Noneable(dg.Permissive({})),
            None,
            description="The cluster that steps with GPUs run in, by KubernetesConfig's fields. Default: this machine.",
        ),
    },
    requirements=multiple_process_executor_requirements(),
)
def forge_executor(init: InitExecutorContext) -> ForgeExecutor:
    """Build the executor of a run.

    Raises:
        ConfigError: the cluster's configuration is wrong.
    """
    config: Mapping[str, Any] = init.executor_config
    retries = RetryMode.from_config(config["retries"])
    assert retries is not None
    most = config["max_concurrent"] or max(2, available_cores() // 2)
    return ForgeExecutor(RoutedSteps.of(load_settings(), config["kubernetes"]), retries, most)
