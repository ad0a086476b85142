"""A small Kubernetes: an API server over HTTP that validates each Job, places its pod on a node, and runs its command.

It knows what the backend calls, and holds it to what a cluster would: the schema, the token, the rights that
infra/kubernetes gives, the namespace, devices asked for in full, taints, labels and free devices of the nodes. A pod's
command runs as a process of this machine.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import kubernetes_validate
import yaml

VERSION = "1.34"
GPU = "nvidia.com/gpu"
TOKEN = uuid4().hex
MANIFESTS = Path(__file__).parents[2] / "infra" / "kubernetes"

Json = dict[str, Any]


@dataclass
class Node:
    """A machine of the cluster; one with GPUs takes only pods that tolerate the taint."""

    name: str
    num_gpus: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """An answer of the API that is no success."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.answer = (
            status,
            {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "code": status,
                "reason": reason,
                "message": message,
            },
        )


class Cluster:
    """What the API server keeps: Jobs, their pods, and the pods' processes."""

    def __init__(self, nodes: Sequence[Node], namespaces: Sequence[str], images: Sequence[str], logs: Path) -> None:
        self.nodes, self.namespaces, self.images, self.logs = nodes, namespaces, images, logs
        self.config_maps: dict[str, dict[str, str]] = {}
        self.jobs: dict[str, Json] = {}
        self.pods: dict[str, Json] = {}
        self.posted: list[Json] = []
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._started: list[subprocess.Popen[bytes]] = []
        self._lock = threading.RLock()

    def create_job(self, namespace: str, job: Json) -> Json:
        with self._lock:
            self._require_namespace(namespace)
            _require_valid(job)
            name = job["metadata"]["name"]
            if name in self.jobs:
                raise Refused(409, "AlreadyExists", f'jobs.batch "{name}" already exists')
            job["metadata"].update(namespace=namespace, uid=uuid4().hex)
            job["status"] = {"active": 1}
            self.jobs[name] = job
            self.posted.append(job)
            self._create_pod(name, namespace, job["spec"]["template"])
            self._schedule()
            return job

    def list_jobs(self, namespace: str, query: Mapping[str, str]) -> Json:
        with self._lock:
            self._require_namespace(namespace)
            return {"kind": "JobList", "apiVersion": "batch/v1", "items": _select(self.jobs, query)}

    def list_pods(self, namespace: str, query: Mapping[str, str]) -> Json:
        with self._lock:
            self._require_namespace(namespace)
            return {"kind": "PodList", "apiVersion": "v1", "items": _select(self.pods, query)}

    def delete_jobs(self, namespace: str, query: Mapping[str, str]) -> Json:
        with self._lock:
            self._require_namespace(namespace)
            for job in _select(self.jobs, query):
                self.delete_job(namespace, job["metadata"]["name"], query)
            return {"kind": "Status", "status": "Success"}

    def delete_job(self, namespace: str, name: str, query: Mapping[str, str]) -> Json:
        with self._lock:
            self._require_namespace(namespace)
            if name not in self.jobs:
                raise Refused(404, "NotFound", f'jobs.batch "{name}" not found')
            del self.jobs[name]
            if query.get("propagationPolicy", "Orphan") != "Orphan":
                self._delete_pod(name)
            return {"kind": "Status", "status": "Success"}

    def wait_for_processes(self, timeout_seconds: float) -> list[int]:
        """Wait until no pod's process runs, and return those that still do."""
        until = time.monotonic() + timeout_seconds
        while (running := [each.pid for each in self._started if each.poll() is None]) and time.monotonic() < until:
            time.sleep(0.1)
        return running

    def _delete_pod(self, job_name: str) -> None:
        for pod_name in [name for name, pod in self.pods.items() if pod["metadata"]["labels"]["job-name"] == job_name]:
            self.pods.pop(pod_name)
            process = self._processes.pop(pod_name, None)
            if process is not None and process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)

    def _require_namespace(self, namespace: str) -> None:
        if namespace not in self.namespaces:
            raise Refused(404, "NotFound", f'namespaces "{namespace}" not found')

    def _create_pod(self, job_name: str, namespace: str, template: Json) -> None:
        name = f"{job_name}-{uuid4().hex[:5]}"
        metadata = {**template["metadata"], "name": name, "namespace": namespace}
        metadata["labels"] = {**metadata.get("labels", {}), "job-name": job_name}
        self.pods[name] = {
            "kind": "Pod",
            "metadata": metadata,
            "spec": template["spec"],
            "status": {"phase": "Pending"},
        }

    def _schedule(self) -> None:
        for name, pod in self.pods.items():
            if pod["status"]["phase"] != "Pending" or "nodeName" in pod["spec"]:
                continue
            refusals = {node.name: self._refusal(pod["spec"], node) for node in self.nodes}
            fitting = [node for node, refusal in refusals.items() if refusal is None]
            if fitting:
                pod["spec"] = {**pod["spec"], "nodeName": fitting[0]}
                self._start(name, pod)
            else:
                why = ", ".join(sorted({str(refusal) for refusal in refusals.values()}))
                said = f"0/{len(self.nodes)} nodes are available: {why}"
                condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}
                pod["status"]["conditions"] = [condition]

    def _refusal(self, spec: Json, node: Node) -> str | None:
        if any(node.labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
            return "node(s) didn't match Pod's node affinity/selector"
        if node.num_gpus and not any(each.get("key") == GPU for each in spec.get("tolerations") or []):
            return f"node(s) had untolerated taint {{{GPU}: }}"
        taken = sum(
            _gpus(pod["spec"])
            for pod in self.pods.values()
            if pod["spec"].get("nodeName") == node.name and pod["status"]["phase"] == "Running"
        )
        return f"Insufficient {GPU}" if _gpus(spec) > node.num_gpus - taken else None

    def _start(self, name: str, pod: Json) -> None:
        (container,) = pod["spec"]["containers"]
        if container["image"] not in self.images:
            waiting = {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{container["image"]}"'}
            pod["status"] = _status("Pending", container["name"], {"waiting": waiting})
            return
        pod["status"] = _status("Running", container["name"], {"running": {}})
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with (self.logs / f"{name}.log").open("wb") as log:
            process = self._processes[name] = subprocess.Popen(
                [*(container.get("command") or []), *container["args"]],
                env={"PATH": path, "HOME": os.environ.get("HOME", "/"), **self._variables(container)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(process)
        threading.Thread(target=self._wait, args=(name, process), daemon=True).start()

    def _variables(self, container: Json) -> dict[str, str]:
        maps = [source["configMapRef"]["name"] for source in container.get("envFrom") or []]
        drawn = {key: value for name in maps for key, value in self.config_maps[name].items()}
        return {**drawn, **{entry["name"]: entry["value"] for entry in container.get("env") or []}}

    def _wait(self, name: str, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        with self._lock:
            if (pod := self.pods.get(name)) is None:
                return
            killed = code == -signal.SIGKILL
            end = {"exitCode": 128 - code if code < 0 else code}
            end["reason"] = "OOMKilled" if killed else "Error" if code else "Completed"
            pod["status"] = _status("Failed" if code else "Succeeded", "dagster", {"terminated": end})
            self.jobs[pod["metadata"]["labels"]["job-name"]]["status"] = {"failed" if code else "succeeded": 1}
            self._schedule()


def _status(phase: str, container: str, state: Json) -> Json:
    one = {"name": container, "state": state, "ready": False, "restartCount": 0, "image": "", "imageID": ""}
    return {"phase": phase, "containerStatuses": [one]}


def _gpus(spec: Json) -> int:
    limits = [(container.get("resources") or {}).get("limits") or {} for container in spec["containers"]]
    return sum(int(limit.get(GPU, 0)) for limit in limits)


def _require_valid(job: Json) -> None:
    try:
        kubernetes_validate.validate(job, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        where = ".".join(str(part) for part in error.path)
        raise Refused(422, "Invalid", f"Job is invalid: {where}: {error.message}") from error
    for container in job["spec"]["template"]["spec"]["containers"]:
        resources = container.get("resources") or {}
        limit, request = ((resources.get(side) or {}).get(GPU) for side in ("limits", "requests"))
        if request is not None and request != limit:
            raise Refused(422, "Invalid", f"Invalid value: {request}: must be equal to {GPU} limit of {limit}")


def _select(objects: Mapping[str, Json], query: Mapping[str, str]) -> list[Json]:
    field_name = query.get("fieldSelector", "").removeprefix("metadata.name=")
    label, _, value = query.get("labelSelector", "").partition("=")
    return [
        each
        for name, each in objects.items()
        if field_name in {"", name} and (not label or each["metadata"].get("labels", {}).get(label) == value)
    ]


def _require_right(verb: str, resource: str) -> None:
    """Refuse what the site's manifests do not allow Forge."""
    role = next(each for each in yaml.safe_load_all((MANIFESTS / "rbac.yaml").read_text()) if each["kind"] == "Role")
    if not any(verb in rule["verbs"] and resource in rule["resources"] for rule in role["rules"]):
        raise Refused(403, "Forbidden", f'User "forge" cannot {verb} resource "{resource}"')


def _handler(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            try:
                status, answer = 200, self._route(body)
            except Refused as refused:
                status, answer = refused.status, refused.answer
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the standard library's names

        def _route(self, body: Json) -> Json:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Refused(401, "Unauthorized", "Unauthorized")
            url = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            match self.command, *url.path.strip("/").split("/"):
                case "POST", "apis", "batch", "v1", "namespaces", namespace, "jobs":
                    _require_right("create", "jobs")
                    return cluster.create_job(namespace, body)
                case "GET", "apis", "batch", "v1", "namespaces", namespace, "jobs":
                    _require_right("list", "jobs")
                    return cluster.list_jobs(namespace, query)
                case "DELETE", "apis", "batch", "v1", "namespaces", namespace, "jobs":
                    _require_right("deletecollection", "jobs")
                    return cluster.delete_jobs(namespace, query)
                case "DELETE", "apis", "batch", "v1", "namespaces", namespace, "jobs", name:
                    _require_right("delete", "jobs")
                    return cluster.delete_job(namespace, name, {**query, **body})
                case "GET", "api", "v1", "namespaces", namespace, "pods":
                    _require_right("list", "pods")
                    return cluster.list_pods(namespace, query)
            raise Refused(404, "NotFound", f"the server could not find {self.command} {url.path}")

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    return Handler


def kubeconfig(address: str, path: Path) -> Path:
    """Write the file by which a client finds the server at ``address``."""
    here = {"cluster": "stand-in", "user": "forge"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": here}],
        "clusters": [{"name": "stand-in", "cluster": {"server": address}}],
        "users": [{"name": "forge", "user": {"token": TOKEN}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


@contextmanager
def serving(cluster: Cluster) -> Iterator[str]:
    """Serve the cluster's API while the context lasts, and give its address; no pod outlives it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(cluster))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        cluster.delete_jobs(cluster.namespaces[0], {"propagationPolicy": "Background"})
