"""Small assets for `test_local_steps.py`: each ends, asks for devices, or leaves something behind in its own way."""

import os
import signal
import sys
import time
from pathlib import Path

import dagster as dg
import psutil

from forge_assets.attempts import attempt
from forge_assets.executor.executor import forge_executor
from forge_assets.resources import MachineResource, forge_resources
from forge_assets.settings import load_settings
from forge_pipelines import processes
from forge_pipelines.errors import DataError, PlatformError
from forge_pipelines.gpu.request import GpuRequest

NEVER = dg.RetryPolicy(max_retries=0)
TWICE = dg.RetryPolicy(max_retries=2, delay=0.1)
VARIABLES = ("CUDA_VISIBLE_DEVICES", "FORGE_GPU_LEASE", "FORGE_STEP")
CPU_SECONDS = 0.2
OUT_OF_MEMORY_GROUP = Path("/sys/fs/cgroup/memory/forge-test")
STRAY = "import time; time.sleep(601)"


def strays() -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline"])
    return [process for process in found if (process.info["cmdline"] or [])[:3] == [sys.executable, "-c", STRAY]]


def seen() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={name: os.environ.get(name, "unset") for name in VARIABLES})


@dg.asset(key_prefix="ends")
def well() -> dg.MaterializeResult:
    until = time.process_time() + CPU_SECONDS
    while time.process_time() < until:
        pass
    return seen()


@dg.asset(key_prefix="ends")
def by_platform_fault(context: dg.AssetExecutionContext) -> None:
    with attempt(context):
        raise PlatformError("the disk went away; mount it again")


@dg.asset(key_prefix="ends")
def well_at_last(context: dg.AssetExecutionContext) -> None:
    with attempt(context):
        if context.retry_number == 0:
            raise PlatformError("the disk was away")


@dg.asset(key_prefix="ends")
def by_data_error(context: dg.AssetExecutionContext) -> None:
    with attempt(context):
        raise DataError("the corpus is empty; look at its rejections")


@dg.asset(key_prefix="ends", retry_policy=TWICE)
def by_sigkill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dg.asset(key_prefix="ends", retry_policy=TWICE)
def by_sigkill_once(context: dg.AssetExecutionContext) -> None:
    if context.retry_number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(1)


@dg.asset(key_prefix="ends", retry_policy=NEVER)
def out_of_memory() -> None:
    (OUT_OF_MEMORY_GROUP / "cgroup.procs").write_text(str(os.getpid()))
    bytearray(400 << 20)


@dg.asset(key_prefix="asks", op_tags={"nvidia.com/gpu": "1"})
def for_one() -> dg.MaterializeResult:
    return seen()


@dg.asset(key_prefix="asks", op_tags={"nvidia.com/gpu": "2"})
def for_both() -> dg.MaterializeResult:
    time.sleep(0.3)
    return seen()


@dg.asset(key_prefix="asks", op_tags={"nvidia.com/gpu": "2"})
def for_both_too() -> dg.MaterializeResult:
    time.sleep(0.3)
    return seen()


@dg.asset(key_prefix="asks", op_tags={"nvidia.com/gpu": "3"})
def for_more_than_there_are() -> None: ...


@dg.asset(key_prefix="asks", op_tags={"nvidia.com/gpu": "two"})
def for_two_in_letters() -> None: ...


@dg.asset(key_prefix="leaves")
def a_daemon() -> None:
    processes.detach([sys.executable, "-c", STRAY], log=Path(os.devnull))
    while not strays():
        time.sleep(0.01)


@dg.asset(key_prefix="leaves", op_tags={"nvidia.com/gpu": "1"})
def output(context: dg.AssetExecutionContext, forge_machine: MachineResource) -> None:
    with attempt(context), forge_machine.leased(GpuRequest(count=1), context) as machine:
        machine.logs.mkdir(parents=True, exist_ok=True)
        said = "import sys; print('rank 0 was here', file=sys.stderr)"
        assert processes.run([sys.executable, "-c", said], print, log=machine.logs / "rank-0.log") == 0


ASSETS = [
    *(well, by_platform_fault, well_at_last, by_data_error, by_sigkill, by_sigkill_once, out_of_memory),
    *(for_one, for_both, for_both_too, for_more_than_there_are, for_two_in_letters, a_daemon, output),
]
AT_ONCE = ["/".join(asset.key.path) for asset in ASSETS if asset is not by_platform_fault]


def everything() -> dg.JobDefinition:
    definitions = dg.Definitions(
        ASSETS,
        jobs=[dg.define_asset_job("everything")],
        executor=forge_executor,
        resources=forge_resources(load_settings()),
    )
    return definitions.resolve_job_def("everything")
