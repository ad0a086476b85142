"""Steps on this machine, each in processes of its own: how each ends, what it sees, and what the ledger says of it.

One run makes all assets of `local_steps.py` over two declared devices; the tests look at what it left.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import local_steps
import pytest
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.step_delegating import StepHandler, StepHandlerContext
from dagster._core.test_utils import create_run_for_test
from dagster_postgres import PostgresEventLogStorage

from forge_assets.attempts import ledger_of
from forge_assets.executor.executor import ForgeExecutor
from forge_assets.faults import Fault, fault_of_step
from forge_assets.instance import dagster_instance
from forge_assets.settings import exported, load_settings
from forge_pipelines.ledger.attempts import Attempt

CONFINABLE = os.access(local_steps.OUT_OF_MEMORY_GROUP.parent, os.W_OK)


@dataclass(frozen=True)
class Told:
    """What Dagster and the ledger know of one run."""

    success: bool
    events: list[dg.EventLogEntry]
    attempts: list[Attempt]

    def of(self, asset: str, kind: dg.DagsterEventType) -> list[dg.DagsterEvent]:
        found = [entry.dagster_event for entry in self.events if entry.step_key == asset.replace("/", "__")]
        return [event for event in found if event is not None and event.event_type == kind]

    def fault(self, asset: str) -> Fault:
        (event,) = self.of(asset, dg.DagsterEventType.STEP_FAILURE)
        return fault_of_step(event)

    def seen_by(self, asset: str) -> dict[str, Any]:
        (event,) = self.of(asset, dg.DagsterEventType.ASSET_MATERIALIZATION)
        return {name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()}

    def ledger(self, asset: str) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.step == asset.replace("/", "__")]

    def log(self, asset: str) -> list[str]:
        return [entry.user_message for entry in self.events if entry.step_key == asset.replace("/", "__")]


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    home = tmp_path_factory.mktemp("local")
    variables = {"FORGE_HOME": str(home), "FORGE_GPU_LEASES": str(home / "leases"), "FORGE_WHEN_NO_GPU": "fail"}
    module = {"PYTHONPATH": str(Path(local_steps.__file__).parent), "FORGE_GPU_INVENTORY": ""}
    with exported(variables | module), dagster_instance(load_settings()) as opened:
        yield opened


def run(
    instance: dg.DagsterInstance, num_devices: int, assets: list[str] | None = None, retries: str = "enabled"
) -> Told:
    devices = [
        {"uuid": f"GPU-{number}", "name": "Trial", "memory_bytes": 1 << 34, "simulated": True}
        for number in range(num_devices)
    ]
    inventory = load_settings().home / "devices.json"
    inventory.write_text(json.dumps(devices))
    selection = [dg.AssetKey(asset.split("/")) for asset in assets]
    with exported({"FORGE_GPU_INVENTORY": str(inventory)}):
        job, config = dg.reconstructable(local_steps.everything), {"max_concurrent": 4, "retries": {retries: {}}}
        with dg.execute_job(job, instance, {"execution": {"config": config}}, asset_selection=selection) as result:
            ledger = ledger_of(load_settings())
            attempts = [
                attempt
                for model in ("ends", "asks", "leaves")
                for attempt in ledger.of(model)
                if attempt.run == result.run_id
            ]
            return Told(result.success, instance.all_logs(result.run_id), attempts)


@pytest.fixture(scope="module")
def told(instance: dg.DagsterInstance) -> Iterator[Told]:
    if CONFINABLE:
        local_steps.OUT_OF_MEMORY_GROUP.mkdir(exist_ok=True)
        (local_steps.OUT_OF_MEMORY_GROUP / "memory.limit_in_bytes").write_text(str(64 << 20))
    yield run(instance, num_devices=2, assets=local_steps.AT_ONCE)
    if CONFINABLE:
        local_steps.OUT_OF_MEMORY_GROUP.rmdir()


def test_a_run_fails_when_a_step_does_and_every_other_step_still_runs(told: Told) -> None:
    assert not told.success
    assert told.of("ends/well", dg.DagsterEventType.STEP_SUCCESS)
    assert told.of("leaves/output", dg.DagsterEventType.STEP_SUCCESS)


def test_a_platform_fault_is_retried(told: Told) -> None:
    assert told.of("ends/well_at_last", dg.DagsterEventType.STEP_SUCCESS)
    first, second = told.ledger("ends/well_at_last")
    assert (first.attempt, first.outcome) == (1, "failed")
    assert first.reason == "platform fault: the disk was away"
    assert (second.attempt, second.outcome) == (2, "succeeded")


def test_a_platform_fault_that_stays_is_said(instance: dg.DagsterInstance) -> None:
    told = run(instance, num_devices=0, assets=["ends/by_platform_fault"], retries="disabled")
    sentence = "the disk went away; mount it again"
    assert told.fault("ends/by_platform_fault") == Fault("platform fault", sentence, "ends/by_platform_fault")
    assert [attempt.reason for attempt in told.attempts] == [f"platform fault: {sentence}"]


def test_a_data_error_is_not_retried(told: Told) -> None:
    assert told.fault("ends/by_data_error").kind == "data error"
    (attempt,) = told.ledger("ends/by_data_error")
    assert attempt.reason == "data error: the corpus is empty; look at its rejections"


def test_the_ledger_has_the_seconds_of_every_attempt(told: Told) -> None:
    assert len(told.attempts) >= 14
    assert {attempt.outcome for attempt in told.attempts} == {"succeeded", "failed"}
    assert all(attempt.ended_at is not None for attempt in told.attempts)
    (well,) = told.ledger("ends/well")
    assert well.wall_seconds is not None and well.cpu_seconds is not None
    assert local_steps.CPU_SECONDS <= well.cpu_seconds < 30
    assert local_steps.CPU_SECONDS <= well.wall_seconds < 30
    (both,) = told.ledger("asks/for_both")
    assert both.wall_seconds is not None and both.gpu_seconds == pytest.approx(2 * both.wall_seconds)
    assert both.devices == ("Trial (GPU-0)", "Trial (GPU-1)")
    assert both.energy_joules is None  # nobody counts that of declared devices


def test_a_step_that_asks_for_one_of_two_devices_is_given_a_lease(told: Told) -> None:
    seen = told.seen_by("asks/for_one")
    assert re.search(r"GPU-[01]", seen["FORGE_GPU_LEASE"])
    assert seen["FORGE_STEP"] == "local"
    assert [line for line in told.log("asks/for_one") if re.fullmatch(r"holds Trial \(GPU-[01]\)", line)]


def test_a_step_without_the_tag_sees_no_device(told: Told) -> None:
    seen = told.seen_by("ends/well")
    assert (seen["CUDA_VISIBLE_DEVICES"], seen["FORGE_GPU_LEASE"]) == ("", "unset")


def test_the_wait_for_devices_is_in_the_log(told: Told) -> None:
    said = [line for asset in ("asks/for_both", "asks/for_both_too") for line in told.log(asset)]
    waits = [line for line in said if line.startswith("waiting")]
    told_of = r"waiting for 2 GPUs, \w+ in the queue, held by run \w{8} \([\w/]+\) since \d\d:\d\d:\d\d.*"
    assert any(re.fullmatch(told_of, line) for line in waits), waits


def test_a_request_beyond_the_inventory_fails_at_once_with_what_there_is(told: Told) -> None:
    assert told.fault("asks/for_more_than_there_are") == Fault(
        "configuration error",
        "asks/for_more_than_there_are cannot run: the step asks for 3 GPUs and this machine has 2 × Trial; "
        "ask for what there is",
        "asks/for_more_than_there_are",
    )
    assert len(told.ledger("asks/for_more_than_there_are")) == 1


def test_a_tag_that_is_no_number_fails_its_step_alone_by_name(told: Told) -> None:
    fault = told.fault("asks/for_two_in_letters")
    assert fault.kind == "configuration error"
    assert "asks/for_two_in_letters cannot run: the tag nvidia.com/gpu is 'two'" in fault.sentence
    assert len(told.ledger("asks/for_two_in_letters")) == 1


def test_a_killed_step_is_told_by_its_signal(told: Told) -> None:
    assert told.fault("ends/by_sigkill") == Fault(
        "platform fault", "ends/by_sigkill was ended by SIGKILL", "ends/by_sigkill"
    )
    attempts = told.ledger("ends/by_sigkill")
    assert [attempt.attempt for attempt in attempts] == [1, 2, 3]
    assert {attempt.reason for attempt in attempts} == {"platform fault: ends/by_sigkill was ended by SIGKILL"}


def test_a_killed_step_is_retried_and_its_next_attempt_is_left_to_end(told: Told) -> None:
    first, second = told.ledger("ends/by_sigkill_once")
    assert (first.outcome, second.outcome) == ("failed", "succeeded")
    assert second.wall_seconds is not None and second.wall_seconds >= 1


@pytest.mark.skipif(not CONFINABLE, reason="needs root and version 1 of memory cgroups")
def test_a_step_that_ran_out_of_memory_is_told_so(told: Told) -> None:
    fault = told.fault("ends/out_of_memory")
    assert fault.kind == "platform fault"
    assert "was killed by the kernel because memory ran out" in fault.sentence


def test_a_daemon_that_a_step_left_ends_with_it(told: Told) -> None:
    assert told.of("leaves/a_daemon", dg.DagsterEventType.STEP_SUCCESS)
    assert not local_steps.strays()


def test_the_output_of_a_steps_processes_is_found_with_its_own(told: Told, instance: dg.DagsterInstance) -> None:
    events = [entry.dagster_event for entry in told.events if entry.dagster_event is not None]
    captured = [event.event_specific_data for event in events if event.event_type == dg.DagsterEventType.LOGS_CAPTURED]
    (data,) = [one for one in captured if "leaves__output" in one.step_keys]
    run_id = told.ledger("leaves/output")[0].run
    log = instance.compute_log_manager.get_log_data([run_id, "compute_logs", data.file_key])
    assert log.stderr is not None and b"rank 0 was here" in log.stderr


def test_a_machine_without_devices_fails_a_step_that_asks_for_one_where_the_site_wants_that(
    instance: dg.DagsterInstance,
) -> None:
    told = run(instance, num_devices=0, assets=["asks/for_one"])
    assert "the step asks for 1 GPU and this machine has no NVIDIA device" in told.fault("asks/for_one").sentence


def test_a_machine_without_devices_runs_it_on_the_cpu_and_says_so(instance: dg.DagsterInstance) -> None:
    with exported({"FORGE_WHEN_NO_GPU": "cpu"}):
        told = run(instance, num_devices=0, assets=["leaves/output"])
    assert told.success
    assert "no NVIDIA device is used: the step asked for 1 GPU and runs on the CPU" in told.log("leaves/output")


class Attentive(StepHandler):
    """A backend that only listens."""

    name = "attentive"

    def __init__(self) -> None:
        self.heard: list[str | None] = []

    def attend(self) -> None: ...

    def hear(self, event: dg.DagsterEvent) -> None:
        self.heard.append(event.message)

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[dg.DagsterEvent]:
        yield from ()

    check_step_health = terminate_step = launch_step  # type: ignore[assignment]


def test_an_event_that_reaches_the_log_after_one_with_a_higher_number_is_heard(instance: dg.DagsterInstance) -> None:
    handler, run, seen = Attentive(), create_run_for_test(instance), set[int]()
    executor = ForgeExecutor(handler, RetryMode.ENABLED, None)  # type: ignore[arg-type]
    executor._give_sign = lambda: None
    slow = instance.report_engine_event("slow", run)
    storage = instance.event_log_storage
    assert isinstance(storage, PostgresEventLogStorage)
    (entry,) = [entry for entry in instance.all_logs(run.run_id) if entry.dagster_event == slow]
    with storage._engine.execution_options(isolation_level="READ COMMITTED").begin() as transaction:
        transaction.execute(storage.prepare_insert_event(entry._replace(user_message="")))
        instance.report_engine_event("fast", run)
        executor._pop_events(instance, run.run_id, seen)
        assert handler.heard == ["slow", "fast"]
    executor._pop_events(instance, run.run_id, seen)
    assert handler.heard == ["slow", "fast", "slow"]
