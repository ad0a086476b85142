"""Steps on Kubernetes: what their pods ask for, and what becomes of a run whatever becomes of a pod or of the API."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import kubernetes_jobs as jobs
import pytest
from kubernetes_api import Cluster, Node, kubeconfig, serving

from forge_assets.executor.cluster import KubernetesConfig, pod_parts
from forge_assets.executor.kubernetes import end_run, kubernetes_handler
from forge_pipelines.errors import ConfigError, PlatformError
from forge_pipelines.gpu.request import GpuRequest

H200 = {"nvidia.com/gpu.product": "NVIDIA-H200"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kubernetes")


@pytest.fixture(scope="module")
def cluster(place: Path) -> Iterator[Cluster]:
    """A node without GPUs and one with three; the kubeconfig that finds them stands beside."""
    nodes = [Node("plain"), Node("gpus", num_gpus=3, labels=H200)]
    made = Cluster(nodes, ["forge"], [jobs.IMAGE], place)
    made.config_maps["forge"] = {
        "SITE": "here",
        "STARTED": str(place / "started"),
        "PYTHONPATH": os.pathsep.join([str(Path(jobs.__file__).parent), *sys.path]),
    }
    with serving(made) as address:
        kubeconfig(address, place / "kubeconfig")
        yield made


@pytest.fixture(scope="module")
def instance(place: Path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(place)) as made:
        yield made


def run(job: dg.JobDefinition, instance: dg.DagsterInstance, place: Path, **config: str) -> dg.JobExecutionResult:
    executor = {"kubeconfig": str(place / "kubeconfig"), **config}
    return dg.execute_job(dg.reconstructable(job), instance, run_config={"execution": {"config": executor}})


def failure(result: dg.JobExecutionResult) -> str:
    (event,) = result.filter_events(lambda event: event.is_step_failure)
    assert event.step_failure_data.error is not None
    return event.step_failure_data.error.message


@pytest.fixture(scope="module")
def trained(cluster: Cluster, instance: dg.DagsterInstance, place: Path) -> dict[str, Any]:
    """The Jobs, by op, of a run that went well; which it did, is one of the tests."""
    with run(jobs.training, instance, place) as result:
        assert result.success
        assert (result.output_for_node("trained"), result.output_for_node("measured")) == (42, 7)
    return {job["metadata"]["labels"]["dagster/op"]: job for job in cluster.posted}


def pod(job: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    spec = job["spec"]["template"]["spec"]
    return spec, spec["containers"][0]


def test_a_run_succeeds_through_the_cluster_one_job_a_step(trained: dict[str, Any]) -> None:
    assert sorted(trained) == ["measured", "number", "trained"]
    for job in trained.values():
        assert job["spec"]["backoffLimit"] == 0
        assert pod(job)[0]["restartPolicy"] == "Never"
        assert pod(job)[1]["args"] == ["dagster", "api", "execute_step"]
        assert pod(job)[1]["image"] == jobs.IMAGE


def test_two_devices_of_a_product_are_limits_requests_toleration_selector_runtime_and_memory(
    trained: dict[str, Any],
) -> None:
    spec, container = pod(trained["trained"])
    assert container["resources"] == {"limits": {"nvidia.com/gpu": "2"}, "requests": {"nvidia.com/gpu": "2"}}
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert spec["nodeSelector"] == H200
    assert spec["runtimeClassName"] == "nvidia"
    assert {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}} in spec["volumes"]
    assert {"name": "shared-memory", "mountPath": "/dev/shm"} in container["volumeMounts"]


def test_an_ops_own_tag_is_merged_over_what_its_gpu_asks_for(trained: dict[str, Any]) -> None:
    spec, container = pod(trained["measured"])
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "1", "memory": "64Gi"}
    assert container["resources"]["requests"] == {"nvidia.com/gpu": "1"}
    assert [toleration["key"] for toleration in spec["tolerations"]] == ["nvidia.com/gpu", "mine"]
    assert spec["priorityClassName"] == "nightly"
    assert "nodeSelector" not in spec
    assert {"name": "MINE", "value": "yes"} in container["env"]


def test_a_step_that_asks_for_none_sees_no_device(trained: dict[str, Any]) -> None:
    spec, container = pod(trained["number"])
    assert not container.get("resources")
    assert {"tolerations", "nodeSelector", "runtimeClassName"}.isdisjoint(spec)
    assert {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"} in container["env"]


def test_the_pod_is_named_in_the_runs_log(
    trained: dict[str, Any], instance: dg.DagsterInstance, cluster: Cluster
) -> None:
    label = trained["trained"]["metadata"]["labels"]["dagster/run-id"]
    starts = [
        entry.dagster_event for entry in instance.all_logs(label, of_type=dg.DagsterEventType.STEP_WORKER_STARTING)
    ]
    said = {event.step_key: event.message for event in starts if event is not None}
    name = trained["trained"]["metadata"]["name"]
    assert f"kubectl logs --namespace forge job/{name}" in (said["trained"] or "")


def test_what_the_site_gives_every_pod() -> None:
    config = KubernetesConfig(
        image="forge", service_account="steps", secrets=("keys",), claims={"store": "/forge"}, runtime_class=None
    )
    parts = pod_parts(config, GpuRequest(count=1), {"HF_HUB_OFFLINE": "1"})
    assert parts["pod_spec_config"]["service_account_name"] == "steps"
    assert {"name": "claim-0", "persistent_volume_claim": {"claim_name": "store"}} in parts["pod_spec_config"][
        "volumes"
    ]
    assert {"name": "claim-0", "mount_path": "/forge"} in parts["container_config"]["volume_mounts"]
    assert parts["container_config"]["env_from"] == [{"secret_ref": {"name": "keys"}}]
    assert parts["container_config"]["env"] == [{"name": "HF_HUB_OFFLINE", "value": "1"}]
    assert "runtime_class_name" not in parts["pod_spec_config"]


def test_a_pod_killed_for_memory_is_said_as_such(cluster: Cluster, instance: dg.DagsterInstance, place: Path) -> None:
    with run(jobs.memory, instance, place) as result:
        assert "was killed for want of memory" in failure(result)


def test_a_pod_that_ends_well_without_a_word_does_not_leave_its_run_waiting_for_ever(
    cluster: Cluster, instance: dg.DagsterInstance, place: Path
) -> None:
    with run(jobs.silence, instance, place) as result:
        assert "ended with exit code 0 and never said how the step ended" in failure(result)


def test_a_job_that_somebody_deleted_fails_its_step(
    cluster: Cluster, instance: dg.DagsterInstance, place: Path
) -> None:
    def delete_once_posted() -> None:
        while not (found := [name for name in cluster.jobs if name.startswith("forge-greedy")]):
            time.sleep(0.1)
        cluster.delete_job("forge", found[0], {"propagationPolicy": "Background"})

    threading.Thread(target=delete_once_posted, daemon=True).start()
    with run(jobs.too_many, instance, place) as result:
        assert "is gone: somebody deleted it" in failure(result)


def test_an_image_that_cannot_be_pulled_fails_the_step_and_leaves_no_job(
    cluster: Cluster, instance: dg.DagsterInstance, place: Path
) -> None:
    with run(jobs.memory, instance, place, image="registry.example/none:1") as result:
        assert "cannot start (ImagePullBackOff): Back-off pulling image" in failure(result)
        assert jobs_of(result.run_id, cluster) == []


def jobs_of(run_id: str, cluster: Cluster) -> list[dict[str, Any]]:
    return [job for job in cluster.jobs.values() if job["metadata"]["labels"]["dagster/run-id"] == run_id]


def test_a_job_that_the_cluster_refuses_fails_its_step_with_the_reason(
    cluster: Cluster, instance: dg.DagsterInstance, place: Path
) -> None:
    with run(jobs.contradiction, instance, place) as result:
        assert "must be equal to nvidia.com/gpu limit of 4" in failure(result)


def test_a_tag_that_makes_no_pod_fails_its_step_and_names_it(
    cluster: Cluster, instance: dg.DagsterInstance, place: Path
) -> None:
    with run(jobs.misspelling, instance, place) as result:
        assert "the tag dagster-k8s/config of the step misspelt makes no pod" in failure(result)


def test_an_api_that_cannot_be_reached_fails_the_step_not_the_executor(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    kubeconfig("http://127.0.0.1:1", tmp_path / "kubeconfig")
    before = time.monotonic()
    with run(jobs.memory, instance, tmp_path) as result:
        assert "the Kubernetes API cannot be reached to create the job forge-killed-for-memory-" in failure(result)
    assert time.monotonic() - before < 10


def test_a_pod_that_no_node_takes_waits_and_says_why_and_a_cancelled_run_leaves_no_job(
    cluster: Cluster, instance: dg.DagsterInstance, place: Path
) -> None:
    waits = "waits (Unschedulable): 0/2 nodes are available: Insufficient nvidia.com/gpu"

    def cancel_once_told() -> None:
        while not any(waits in entry.message for run_id in run_ids(instance) for entry in instance.all_logs(run_id)):
            time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=cancel_once_told, daemon=True).start()
    with run(jobs.too_many, instance, place) as result:
        assert not result.success
        assert jobs_of(result.run_id, cluster) == []


def run_ids(instance: dg.DagsterInstance) -> list[str]:
    started = dg.DagsterRunStatus.STARTED
    return [run.run_id for run in instance.get_runs(dg.RunsFilter(job_name="too_many", statuses=[started]))]


def test_cancelling_ends_the_pod_in_the_middle_of_its_work(
    cluster: Cluster, instance: dg.DagsterInstance, place: Path
) -> None:
    def cancel_once_started() -> None:
        while not (place / "started").exists():
            time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=cancel_once_started, daemon=True).start()
    with run(jobs.forever, instance, place) as result:
        assert not result.success
        assert jobs_of(result.run_id, cluster) == []
    assert cluster.wait_for_processes(10) == []


def test_a_dead_runs_jobs_are_ended_by_its_id(cluster: Cluster, place: Path) -> None:
    config = KubernetesConfig(image=jobs.IMAGE, kubeconfig=place / "kubeconfig")
    template = {"metadata": {"labels": {}}, "spec": {"restartPolicy": "Never"}}
    for name, run_id in (("dead", "1"), ("alive", "2")):
        container = {"name": "dagster", "image": jobs.IMAGE, "args": ["sleep", "60"]}
        spec = {"template": {**template, "spec": {**template["spec"], "containers": [container]}}}
        labels = {"dagster/run-id": run_id}
        cluster.create_job(
            "forge",
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "labels": labels}, "spec": spec},
        )
    end_run(config, "1")
    assert jobs_of("1", cluster) == []
    assert len(jobs_of("2", cluster)) == 1
    end_run(config, "2")


def test_a_namespace_that_is_not_there_is_one_sentence(cluster: Cluster, place: Path) -> None:
    config = KubernetesConfig(image="forge", kubeconfig=place / "kubeconfig", namespace="nowhere")
    with pytest.raises(PlatformError, match=r'refused to delete the jobs of run 1 \(404\): namespaces "nowhere"'):
        end_run(config, "1")


def test_no_cluster_at_all_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^no Kubernetes cluster is configured \("):
        kubernetes_handler(KubernetesConfig(image="forge", kubeconfig=tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"^no Kubernetes cluster is configured \("):
        kubernetes_handler(KubernetesConfig(image="forge"))
