"""The backend that sends steps to a Kubernetes cluster: one Job a step, and what its pod needs to hold NVIDIA devices.

dagster-k8s makes the Job. Its own step handler works only beneath its own run launcher, sleeps while the API does not
answer, and does not say why a pod died.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.executor.step_delegating import CheckStepHealthResult, StepHandler, StepHandlerContext

from forge_assets.executor.cluster import KubernetesConfig, pod_parts
from forge_pipelines.errors import ConfigError, ForgeError, PlatformError
from forge_pipelines.gpu.request import GpuRequest
from forge_pipelines.manifest import digest

RUN_LABEL = "dagster/run-id"
_REQUEST_SECONDS = 10
_HOPELESS = {
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
}
"""Why a container waits, by the kubelet's names, when waiting longer does not help."""


def kubernetes_handler(config: KubernetesConfig, environment: Mapping[str, str] | None = None) -> StepHandler:
    """Return the handler that runs each step as a Kubernetes Job.

    Args:
        config: the site's; what an op's own tag `dagster-k8s/config` says is merged over it.
        environment: variables of this process that the pods must have too; none of them secret.

    Raises:
        ConfigError: the extra is not installed, or no cluster is configured.
    """
    return KubernetesSteps(config, environment or {})


def end_run(config: KubernetesConfig, run_id: str) -> None:
    """Delete every Job of a run whose own process is gone, with the pods.

    Raises:
        ConfigError: as `kubernetes_handler`.
        PlatformError: the API refuses, or cannot be reached.
    """
    batch, _ = _apis(config)
    with _asking(f"delete the jobs of run {run_id}"):
        batch.delete_collection_namespaced_job(
            config.namespace,
            label_selector=f"{RUN_LABEL}={run_id}",
            propagation_policy="Background",
            _request_timeout=_REQUEST_SECONDS,
        )


class KubernetesSteps(StepHandler):
    """Each attempt of a step is one Job that never retries: retries are Dagster's."""

    def __init__(self, config: KubernetesConfig, environment: Mapping[str, str]) -> None:
        self._config, self._environment = config, environment
        self._batch, self._core = _apis(config)
        self._refused: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._ended: set[str] = set()
        self._looked: dict[str, float] = {}

    @property
    def name(self) -> str:
        """The handler's name in the run's log."""
        return "Kubernetes"

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Post the step's Job. One that cannot be posted is told by the next look at the step's health."""
        step, job_name = _step_of(step_handler_context), _job_name(step_handler_context)
        logs = f"kubectl logs --namespace {self._config.namespace} job/{job_name}"
        yield DagsterEvent.step_worker_starting(
            step_handler_context.get_step_context(step),
            message=f"The step runs in the Kubernetes job {job_name} of namespace {self._config.namespace}; "
            f"what its pod writes before Dagster starts is shown by: {logs}",
            metadata={"Kubernetes job": dg.MetadataValue.text(job_name), "Pod's log": dg.MetadataValue.text(logs)},
        )
        try:
            job = _job(step_handler_context, self._config, self._environment)
            # A Job of that name is this very attempt: it was posted by a process that died before it heard so.
            with _asking(f"create the job {job_name}"), _unless(409):
                self._batch.create_namespaced_job(self._config.namespace, job, _request_timeout=_REQUEST_SECONDS)
        except ForgeError as error:
            self._refused[job_name] = str(error)

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Say what became of the step's Job.

        Raises:
            PlatformError: the API refuses, or cannot be reached; the executor notes it, and the step goes on.
        """
        job_name = _job_name(step_handler_context)
        if job_name in self._refused:
            return CheckStepHealthResult.unhealthy(self._refused[job_name])
        if time.monotonic() - self._looked.get(job_name, float("-inf")) < self._config.look_seconds:
            return CheckStepHealthResult.healthy()
        self._looked[job_name] = time.monotonic()
        with _asking(f"read the job {job_name}"):
            where, options = self._config.namespace, {"_request_timeout": _REQUEST_SECONDS}
            jobs = self._batch.list_namespaced_job(where, field_selector=f"metadata.name={job_name}", **options).items
            pods = self._core.list_namespaced_pod(where, label_selector=f"job-name={job_name}", **options).items
        if not jobs:
            return CheckStepHealthResult.unhealthy(f"the Kubernetes job {job_name} is gone: somebody deleted it")
        if jobs[0].status.failed:
            return CheckStepHealthResult.unhealthy(f"the pod of the Kubernetes job {job_name} {_end_of(pods)}")
        if jobs[0].status.succeeded:
            return self._silent(job_name)
        return self._pending(step_handler_context, job_name, pods)

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Delete the step's Job, and its pod with it."""
        step = step_handler_context.get_step_context(_step_of(step_handler_context))
        job_name = _job_name(step_handler_context)
        yield DagsterEvent.engine_event(step, f"Deleting the Kubernetes job {job_name}", EngineEventData())
        try:
            self._delete(job_name)
        except PlatformError as error:
            by_hand = f"kubectl delete job --namespace {self._config.namespace} {job_name}"
            said = f"The job may still run: {error}; once it answers: {by_hand}"
            yield DagsterEvent.engine_event(step, said, EngineEventData())

    def _silent(self, job_name: str) -> CheckStepHealthResult:
        """Give a Job that succeeded one more look: its step's last event may be on its way."""
        if job_name not in self._ended:
            self._ended.add(job_name)
            return CheckStepHealthResult.healthy()
        return CheckStepHealthResult.unhealthy(
            f"the pod of the Kubernetes job {job_name} ended with exit code 0 and never said how the step ended: "
            "see the pod's log"
        )

    def _pending(self, context: StepHandlerContext, job_name: str, pods: list[Any]) -> CheckStepHealthResult:
        reason, message = _waits_for(pods)
        if reason in _HOPELESS:
            self._delete(job_name)
            return CheckStepHealthResult.unhealthy(
                f"the pod of the Kubernetes job {job_name} cannot start ({reason}): {message}"
            )
        if message and self._said.get(job_name) != message:
            self._said[job_name] = message
            step = context.get_step_context(_step_of(context))
            said = f"The Kubernetes job {job_name} waits ({reason}): {message}"
            DagsterEvent.engine_event(step, said, EngineEventData())
        return CheckStepHealthResult.healthy()

    def _delete(self, job_name: str) -> None:
        with _asking(f"delete the job {job_name}"), _unless(404):
            self._batch.delete_namespaced_job(
                job_name, self._config.namespace, propagation_policy="Background", _request_timeout=_REQUEST_SECONDS
            )


def _job(context: StepHandlerContext, config: KubernetesConfig, environment: Mapping[str, str]) -> Any:
    """Return the step's Job: what the site gives, the GPUs that its tags ask for, and over both the op's own tag.

    Raises:
        ConfigError: its tags make no pod.
    """
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import (
        DagsterK8sJobConfig,
        UserDefinedDagsterK8sConfig,
        construct_dagster_k8s_job,
        get_user_defined_k8s_config,
    )

    step, job_name, arguments = _step_of(context), _job_name(context), context.execute_step_args
    tags = context.step_tags[step]
    ours = pod_parts(config, GpuRequest.of_tags(tags), environment)
    try:
        merged = K8sContainerContext(run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(ours)).merge(
            K8sContainerContext(run_k8s_config=get_user_defined_k8s_config(tags))
        )
        return construct_dagster_k8s_job(
            DagsterK8sJobConfig(job_image=config.image),
            args=["dagster", "api", "execute_step"],
            job_name=job_name,
            pod_name=job_name,
            component="step_worker",
            user_defined_k8s_config=merged.run_k8s_config,
            labels={"dagster/job": context.dagster_run.job_name, "dagster/op": step, RUN_LABEL: arguments.run_id},
            env_vars=arguments.get_command_env(),
        )
    except Exception as error:  # dagster-k8s raises no narrower one
        raise ConfigError(f"the tag dagster-k8s/config of the step {step} makes no pod: {error}") from error


def _step_of(context: StepHandlerContext) -> str:
    (step,) = context.execute_step_args.step_keys_to_execute or ()
    return step


def _job_name(context: StepHandlerContext) -> str:
    """Name an attempt of a step: readable, at most 63 characters, and the same whoever asks."""
    step, known = _step_of(context), context.execute_step_args.known_state
    attempt = known.get_retry_state().get_attempt_count(step) if known else 0
    readable = re.sub(r"[^a-z0-9]+", "-", step.lower()).strip("-")[:40]
    return f"forge-{readable}-{digest([context.execute_step_args.run_id, step, attempt])[:12]}"


def _end_of(pods: list[Any]) -> str:
    """Say how the last of a failed Job's pods ended."""
    if not pods:
        return "is gone: it was deleted, or made way for another"
    status = pods[-1].status
    if status.reason:
        return f"was ended by its node ({status.reason}): {status.message}"
    ends = [container.state.terminated for container in status.container_statuses or []]
    end = next((end for end in ends if end is not None), None)
    if end is None:
        return "failed and left no word"
    if end.reason == "OOMKilled":
        return "was killed for want of memory: give the step more in dagster-k8s/config, or make its batches smaller"
    return f"ended with exit code {end.exit_code} ({end.reason})"


def _waits_for(pods: list[Any]) -> tuple[str, str]:
    """Return why a pod does not run yet, as a name and a sentence; two empty ones when nothing holds it up."""
    for pod in pods:
        for condition in pod.status.conditions or []:
            if condition.type == "PodScheduled" and condition.status == "False":
                return condition.reason, condition.message
        for container in pod.status.container_statuses or []:
            if container.state.waiting is not None:
                return container.state.waiting.reason or "", container.state.waiting.message or ""
    return "", ""


def _apis(config: KubernetesConfig) -> tuple[Any, Any]:
    """Open the cluster's two APIs: Jobs, and pods.

    Raises:
        ConfigError: the extra is not installed, or no cluster is configured.
    """
    try:
        import dagster_k8s  # noqa: F401 - says at once that the extra is missing
        import kubernetes
    except ImportError as error:
        raise ConfigError(
            "the kubernetes backend is not installed: pip install 'forge-pipelines[kubernetes]'"
        ) from error
    client = kubernetes.client.Configuration()
    try:
        if config.kubeconfig is None:
            kubernetes.config.load_incluster_config(client_configuration=client)
        else:
            kubernetes.config.load_kube_config(str(config.kubeconfig), client_configuration=client)
    except kubernetes.config.ConfigException as error:
        raise ConfigError(
            f"no Kubernetes cluster is configured ({error}): run inside one, or name a kubeconfig file"
        ) from error
    client.retries = False
    api = kubernetes.client.ApiClient(client)
    return kubernetes.client.BatchV1Api(api), kubernetes.client.CoreV1Api(api)


@contextmanager
def _asking(what: str) -> Iterator[None]:
    """Turn the client's errors into one sentence that says what was asked.

    Raises:
        PlatformError: the API refused, or cannot be reached.
    """
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise PlatformError(f"the Kubernetes API refused to {what} ({error.status}): {_reason(error.body)}") from error
    except HTTPError as error:
        raise PlatformError(f"the Kubernetes API cannot be reached to {what}: {error}") from error


@contextmanager
def _unless(status: int) -> Iterator[None]:
    """Take one answer of the API for what was wanted: it is so already.

    Raises:
        ApiException: it answered otherwise.
    """
    from kubernetes.client import ApiException

    try:
        yield
    except ApiException as error:
        if error.status != status:
            raise


def _reason(body: str | None) -> str:
    try:
        return str(json.loads(body or "")["message"])
    except (ValueError, KeyError, TypeError):
        return (body or "no reason given")[:200]
