"""Jobs whose steps the tests send to the stand-in cluster; pods import them from here."""

import json
import os
import signal
import time
from pathlib import Path

import dagster as dg
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.step_delegating import StepDelegatingExecutor

from forge_assets.executor.cluster import KubernetesConfig
from forge_assets.executor.executor import forge_executor
from forge_assets.executor.kubernetes import kubernetes_handler

IMAGE = "registry.example/forge:1"


@dg.executor(name="to_kubernetes", config_schema={"kubeconfig": str, "image": dg.Field(str, default_value=IMAGE)})
def to_kubernetes(context: dg.InitExecutorContext) -> StepDelegatingExecutor:
    config = KubernetesConfig(
        image=context.executor_config["image"],
        kubeconfig=Path(context.executor_config["kubeconfig"]),
        config_maps=("forge",),
        look_seconds=0.5,
        cpu_steps=True,
    )
    return StepDelegatingExecutor(
        kubernetes_handler(config, {"PLACE": "pod"}),
        retries=RetryMode.ENABLED,
        sleep_seconds=0.1,
        check_step_health_interval_seconds=1,
    )


@dg.op
def number() -> int:
    return 6


@dg.op(tags={"nvidia.com/gpu": "2", "forge/gpu-product": "NVIDIA H200"})
def trained(number: int) -> int:
    assert (os.environ["PLACE"], os.environ["SITE"]) == ("pod", "here")
    return number * 7


OWN = {
    "container_config": {"resources": {"limits": {"memory": "64Gi"}}, "env": [{"name": "MINE", "value": "yes"}]},
    "pod_spec_config": {"priority_class_name": "nightly", "tolerations": [{"key": "mine", "operator": "Exists"}]},
}


@dg.op(tags={"nvidia.com/gpu": "1", "dagster-k8s/config": json.dumps(OWN)})
def measured(number: int) -> int:
    return number + int(os.environ["MINE"] == "yes")


@dg.op(tags={"nvidia.com/gpu": "1"})
def killed_for_memory() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dg.op(tags={"nvidia.com/gpu": "1"})
def wordless() -> None:
    os._exit(0)


@dg.op(tags={"nvidia.com/gpu": "1"})
def endless() -> None:
    Path(os.environ["STARTED"]).touch()
    time.sleep(600)


@dg.op(tags={"nvidia.com/gpu": "64"})
def greedy() -> None:
    """Asks for more than any node has."""


@dg.op(
    tags={
        "nvidia.com/gpu": "2",
        "dagster-k8s/config": '{"container_config": {"resources": {"limits": {"nvidia.com/gpu": "4"}}}}',
    }
)
def torn() -> None:
    """Its own limits contradict what it asks for."""


@dg.op(tags={"nvidia.com/gpu": "1", "dagster-k8s/config": '{"pod_spec_config": {"nodes": 1}}'})
def misspelt() -> None:
    """Its own tag names a field that pods do not have."""


@dg.job(executor_def=to_kubernetes)
def training() -> None:
    found = number()
    trained(found)
    measured(found)


@dg.job(executor_def=to_kubernetes)
def memory() -> None:
    killed_for_memory()


@dg.job(executor_def=to_kubernetes)
def silence() -> None:
    wordless()


@dg.job(executor_def=to_kubernetes)
def forever() -> None:
    endless()


@dg.job(executor_def=to_kubernetes)
def too_many() -> None:
    greedy()


@dg.job(executor_def=to_kubernetes)
def contradiction() -> None:
    torn()


@dg.job(executor_def=to_kubernetes)
def misspelling() -> None:
    misspelt()


def in_a_pod() -> bool:
    return "DAGSTER_COMPRESSED_EXECUTE_STEP_ARGS" in os.environ


@dg.op
def here() -> bool:
    return in_a_pod()


@dg.op(tags={"nvidia.com/gpu": "1"})
def there(before: bool) -> bool:
    return in_a_pod() and not before


@dg.job(executor_def=forge_executor)
def routed() -> None:
    there(here())
