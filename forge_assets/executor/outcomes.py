"""What came of the steps that a run worker launched: from Dagster's events and from the processes, into the ledger."""

import socket
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.execution.plan.objects import StepFailureData, StepRetryData, UserFailureData
from dagster._core.executor.step_delegating import StepHandlerContext
from dagster_shared.error import SerializableErrorInfo

from forge_assets.automation.runs import MODEL_TAG
from forge_assets.faults import CONFIGURATION_ERROR, PLATFORM_FAULT, RETRIES, fault_of_step
from forge_pipelines.errors import ConfigError
from forge_pipelines.gpu.request import GpuRequest
from forge_pipelines.ledger.attempts import AttemptEnd, AttemptKey, Attempts, Outcome
from forge_pipelines.manifest import Value


class Usage(Value):
    """What a step's processes used, all of them gone; ``energy_joules`` is None where nobody counts it."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    energy_joules: float | None = None
    devices: tuple[str, ...] = ()


@dataclass(slots=True)
class OpenAttempt:
    """An attempt whose end is in the ledger once both its outcome and its usage are known."""

    key: AttemptKey
    outcome: Outcome | None = None
    reason: str | None = None
    usage: Usage | None = None


@dataclass(slots=True)
class Outcomes:
    """The steps of one run worker; one is tried anew when its outcome is known, its usage perhaps not yet."""

    ledger: Attempts
    _latest: dict[str, OpenAttempt] = field(default_factory=dict)

    def begin(self, context: StepHandlerContext, step: str, request: GpuRequest) -> OpenAttempt:
        """Take note of a launch."""
        known = context.execute_step_args.known_state
        before = known.get_retry_state().get_attempt_count(step) if known else 0
        key = AttemptKey(run=context.dagster_run.run_id, step=step, attempt=before + 1)
        model = context.dagster_run.tags.get(MODEL_TAG) or step.partition("__")[0]
        self.ledger.begin(key, model, socket.gethostname(), request.count)
        self._latest[step] = OpenAttempt(key)
        return self._latest[step]

    def latest(self, step: str) -> OpenAttempt | None:
        """Return the latest attempt that this worker launched, if it launched any."""
        return self._latest.get(step)

    def hear(self, event: dg.DagsterEvent) -> None:
        """Take note of a result that has reached the run's log."""
        attempt = self._latest.get(event.step_key or "")
        if attempt is None:
            return
        if event.is_step_success:
            self._conclude(attempt, "succeeded", None)
        elif event.is_step_failure or event.is_step_up_for_retry:
            fault = fault_of_step(event)
            self._conclude(attempt, "failed", f"{fault.kind}: {fault.sentence}")

    def use(self, attempt: OpenAttempt, usage: Usage) -> None:
        """Take note that an attempt's processes are gone."""
        attempt.usage = usage
        self._write(attempt)

    def cancel(self, attempt: OpenAttempt) -> None:
        """Take note that an attempt was ended because its run was."""
        self._conclude(attempt, "cancelled", None)

    def refuse(self, context: StepHandlerContext, attempt: OpenAttempt, error: ConfigError) -> None:
        """Report a step that can never run as it is described as failed."""
        self.fail(context, attempt, f"cannot run: {error}", kind=CONFIGURATION_ERROR)
        self.use(attempt, Usage())

    def fail(
        self, context: StepHandlerContext, attempt: OpenAttempt, sentence: str, kind: str = PLATFORM_FAULT
    ) -> None:
        """Report a step that cannot do so itself as failed, or as to be retried where the fault allows it."""
        step_context = context.get_step_context(attempt.key.step)
        description = f"{kind}: {attempt.key.step.replace('__', '/')} {sentence}"
        error = SerializableErrorInfo(description, [], None)
        policy = step_context.op_retry_policy or RETRIES
        retries = kind == PLATFORM_FAULT and not step_context.retry_mode.disabled
        if retries and attempt.key.attempt <= policy.max_retries:
            wait = policy.calculate_delay(attempt.key.attempt)
            dg.DagsterEvent.step_retry_event(step_context, StepRetryData(error=error, seconds_to_wait=wait))
        else:
            told = UserFailureData(kind, description, {"fault": dg.MetadataValue.text(kind)})
            dg.DagsterEvent.step_failure_event(step_context, StepFailureData(error=error, user_failure_data=told))
        self._conclude(attempt, "failed", description)

    def _conclude(self, attempt: OpenAttempt, outcome: Outcome, reason: str | None) -> None:
        if attempt.outcome is None:
            attempt.outcome, attempt.reason = outcome, reason
            self._write(attempt)

    def _write(self, attempt: OpenAttempt) -> None:
        if attempt.outcome is None or attempt.usage is None:
            return
        end = AttemptEnd(
            outcome=attempt.outcome,
            reason=attempt.reason,
            devices=attempt.usage.devices,
            wall_seconds=attempt.usage.wall_seconds,
            cpu_seconds=attempt.usage.cpu_seconds,
            gpu_seconds=len(attempt.usage.devices) * attempt.usage.wall_seconds,
            energy_joules=attempt.usage.energy_joules,
        )
        self.ledger.end(attempt.key, end)
