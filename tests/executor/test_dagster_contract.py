"""What Forge uses of Dagster's private modules is as it was: an upgrade that changes it fails here, by our file."""

import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import pytest
import yaml
from dagster._cli.api import execute_step_command
from dagster._config import validate_config
from dagster._core.definitions.executor_definition import multiple_process_executor_requirements
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.execution.context.system import PlanOrchestrationContext, StepOrchestrationContext
from dagster._core.execution.plan.objects import StepFailureData, StepRetryData, UserFailureData
from dagster._core.execution.retries import RetryMode, RetryState, get_retries_config
from dagster._core.executor.step_delegating import (
    CheckStepHealthResult,
    StepDelegatingExecutor,
    StepHandler,
    StepHandlerContext,
)
from dagster._core.instance.config import dagster_instance_config_schema
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._core.storage.dagster_run import DagsterRun
from dagster._core.test_utils import create_run_for_test
from dagster._daemon.monitoring.run_monitoring import monitor_started_run
from dagster._grpc.types import ExecuteStepArgs
from dagster._serdes import deserialize_value, serialize_value
from dagster_shared.error import SerializableErrorInfo

import forge_assets

EXECUTOR = "forge_assets/executor/executor.py"
LAUNCHER = "forge_assets/executor/launcher.py"
LOCAL = "forge_assets/executor/local.py"
OUTCOMES = "forge_assets/executor/outcomes.py"
ROUTING = "forge_assets/executor/routing.py"
SERVER = "forge_assets/executor/step_server.py"


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


SIGNATURES: list[tuple[Callable[..., Any], list[str], str]] = [
    (StepDelegatingExecutor._pop_events, ["self", "instance", "run_id", "seen_storage_ids"], EXECUTOR),
    (StepDelegatingExecutor.execute, ["self", "plan_context", "execution_plan"], EXECUTOR),
    (RetryMode.from_config, ["config_value"], EXECUTOR),
    (get_retries_config, [], EXECUTOR),
    (multiple_process_executor_requirements, [], EXECUTOR),
    (StepHandler.launch_step, ["self", "step_handler_context"], ROUTING),
    (StepHandler.check_step_health, ["self", "step_handler_context"], ROUTING),
    (StepHandler.terminate_step, ["self", "step_handler_context"], ROUTING),
    (CheckStepHealthResult.healthy, [], LOCAL),
    (CheckStepHealthResult.unhealthy, ["reason"], LOCAL),
    (StepHandlerContext.get_step_context, ["self", "step_key"], OUTCOMES),
    (RetryState.get_attempt_count, ["self", "key"], OUTCOMES),
    (dg.DagsterEvent.step_retry_event, ["step_context", "step_retry_data"], OUTCOMES),
    (dg.DagsterEvent.step_failure_event, ["step_context", "step_failure_data", "message"], OUTCOMES),
    (StepRetryData, ["error", "seconds_to_wait"], OUTCOMES),
    (StepFailureData, ["error", "user_failure_data", "error_source"], OUTCOMES),
    (UserFailureData, ["label", "description", "metadata"], OUTCOMES),
    (SerializableErrorInfo, ["message", "stack", "cls_name", "cause", "context"], OUTCOMES),
    (serialize_value, ["val", "whitelist_map", "json_kwargs"], LOCAL),
    (deserialize_value, ["val", "as_type", "whitelist_map"], SERVER),
    (ReconstructableJob.get_definition, ["self"], SERVER),
    (DefaultRunLauncher.launch_run, ["self", "context"], LAUNCHER),
    (DefaultRunLauncher.terminate, ["self", "run_id"], LAUNCHER),
    (DefaultRunLauncher.check_run_worker_health, ["self", "run"], LAUNCHER),
    (CheckRunHealthResult, ["status", "msg", "transient", "run_worker_id"], LAUNCHER),
]
ATTRIBUTES: list[tuple[type, list[str], str]] = [
    (StepHandlerContext, ["execute_step_args", "dagster_run", "step_tags", "instance"], LOCAL),
    (StepOrchestrationContext, ["op_retry_policy", "retry_mode", "log", "step"], OUTCOMES),
    (PlanOrchestrationContext, ["run_id", "reconstructable_job"], EXECUTOR),
    (dg.DagsterEvent, ["is_step_success", "is_step_failure", "is_step_up_for_retry"], OUTCOMES),
    (dg.DagsterEvent, ["step_failure_data", "step_retry_data"], "forge_assets/faults.py"),
    (RetryMode, ["disabled", "for_inner_plan"], OUTCOMES),
    (DefaultRunLauncher, ["_instance", "has_instance", "supports_check_run_worker_health"], LAUNCHER),
]


@pytest.mark.parametrize(
    ("function", "wanted", "ours"), SIGNATURES, ids=lambda value: getattr(value, "__qualname__", "")
)
def test_a_function_takes_what_we_give_it(function: Callable[..., Any], wanted: list[str], ours: str) -> None:
    assert parameters(function) == wanted, f"{function.__qualname__} takes something else now: mend {ours}"


@pytest.mark.parametrize(("owner", "names", "ours"), ATTRIBUTES, ids=lambda value: getattr(value, "__name__", ""))
def test_an_object_has_what_we_read(owner: type, names: list[str], ours: str) -> None:
    missing = [name for name in names if not hasattr(owner, name)]
    assert not missing, f"{owner.__name__} has no {', '.join(missing)} any more: mend {ours}"


def test_the_executor_is_built_as_we_build_it() -> None:
    wanted = {"retries", "sleep_seconds", "check_step_health_interval_seconds", "max_concurrent", "should_verify_step"}
    found = parameters(StepDelegatingExecutor.__init__)
    assert found[:3] == ["self", "step_handler", "retries"], f"mend ForgeExecutor.__init__ in {EXECUTOR}"
    assert wanted <= set(found), f"{wanted - set(found)} cannot be chosen any more: mend {EXECUTOR}"


def test_the_executor_reads_the_log_from_a_cursor_of_its_own() -> None:
    source = inspect.getsource(StepDelegatingExecutor._pop_events)
    for piece in ("self._event_cursor,", "self._event_cursor = conn.cursor", "not in seen_storage_ids"):
        assert piece in source, f"`{piece}` is gone from _pop_events: mend _look_back in {EXECUTOR}"


def test_a_backend_implements_all_that_a_step_handler_must() -> None:
    wanted = {"name", "launch_step", "check_step_health", "terminate_step"}
    assert StepHandler.__abstractmethods__ == wanted, f"mend RoutedSteps in {ROUTING} and every backend beside it"


def test_a_steps_arguments_are_what_the_step_server_hands_on() -> None:
    wanted = ["job_origin", "run_id", "step_keys_to_execute", "instance_ref", "retry_mode", "known_state"]
    wanted += ["should_verify_step", "print_serialized_events"]
    assert parameters(ExecuteStepArgs)[: len(wanted)] == wanted, f"mend launch_step in {LOCAL}"


def test_a_step_is_executed_by_what_dagsters_command_calls() -> None:
    callback = execute_step_command.callback
    assert callback is not None, f"mend _work in {SERVER}"
    assert parameters(callback) == ["input_json", "compressed_input_json"], f"mend _work in {SERVER}"


def test_retries_are_configured_as_we_configure_them() -> None:
    assert RetryMode.from_config({"enabled": {}}) is RetryMode.ENABLED, f"mend forge_executor in {EXECUTOR}"
    assert RetryMode.from_config({"disabled": {}}) is RetryMode.DISABLED, f"mend forge_executor in {EXECUTOR}"


class Verdict(DefaultRunLauncher):
    """A launcher that knows of every run how it is."""

    status: ClassVar[WorkerStatus]

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        return CheckRunHealthResult(self.status, "its process was killed")


@pytest.mark.parametrize(
    ("verdict", "ends_as"),
    [(WorkerStatus.FAILED, dg.DagsterRunStatus.FAILURE), (WorkerStatus.RUNNING, dg.DagsterRunStatus.STARTED)],
)
def test_run_monitoring_asks_the_launcher_and_fails_a_run_that_it_calls_failed(
    verdict: WorkerStatus, ends_as: dg.DagsterRunStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Verdict, "status", verdict, raising=False)
    launcher = {"module": __name__, "class": "Verdict"}
    with dg.instance_for_test(overrides={"run_launcher": launcher, "run_monitoring": {"enabled": True}}) as instance:
        run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
        record = instance.get_run_record_by_id(run.run_id)
        assert record is not None
        monitor_started_run(instance, None, record, logging.getLogger("monitoring"))  # type: ignore[arg-type]
        found = instance.get_run_by_id(run.run_id)
        assert found is not None and found.status == ends_as, f"mend check_run_worker_health in {LAUNCHER}"


def test_dagster_takes_every_setting_of_our_dagster_yaml() -> None:
    path = Path(forge_assets.__file__).with_name("dagster.yaml")
    settings = yaml.safe_load(path.read_text())
    schema: Any = dagster_instance_config_schema()
    ours = {name: value for name, value in settings.items() if name in schema}
    result = validate_config(schema, ours)
    assert result.success, f"mend {path.name}: {[error.message for error in result.errors or []]}"
    assert {"run_launcher", "run_monitoring", "run_retries", "concurrency", "storage"} <= set(ours), f"mend {path.name}"
