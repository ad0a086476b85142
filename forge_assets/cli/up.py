"""`forge up`: PostgreSQL, MLflow, published pages, and Dagster's code server, daemon and web UI, while it runs."""

import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import yaml
from rich.console import Console

from forge_assets.cli.services import Services
from forge_assets.compute_logs import check_logs
from forge_assets.instance import end_lost_runs, forge_environment, open_instance
from forge_assets.settings import Settings, exported
from forge_pipelines.errors import PlatformError
from forge_pipelines.ledger.addresses import Databases
from forge_pipelines.ledger.postgres import make_socket_folder

_HOST = "127.0.0.1"
_SENSOR_SECONDS = 900  # a sensor may read every document of a model
_STATE_QUERY = """{
  instance { daemonHealth { allDaemonStatuses { required lastHeartbeatTime } } }
  workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
    ... on PythonError { message errorChain { error { message } } }
  } } } }
}"""


def run_up(settings: Settings, *, port: int, mlflow_port: int, pages_port: int) -> None:
    """Start everything, say where it is, and end everything at Ctrl-C or SIGTERM.

    Args:
        settings: where ``mlflow_url`` is set, that server is used instead of one of its own.
        port: of the web UI, on loopback.
        mlflow_port: of MLflow, on loopback.
        pages_port: of published pages, on loopback.

    Raises:
        ConfigError: the settings name an impossible server, or an object store that takes no logs.
        PlatformError: a port is taken, this FORGE_HOME has one already, or a service does not start or has ended.
    """
    started, address = time.monotonic(), f"http://{_HOST}:{port}"
    mlflow, pages = settings.mlflow_url or f"http://{_HOST}:{mlflow_port}", f"http://{_HOST}:{pages_port}"
    console = Console(soft_wrap=True, highlight=False, markup=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            forge_environment(settings.model_copy(update={"mlflow_url": mlflow})) as databases,
            exported({"FORGE_PAGES_URL": pages, "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS": str(_SENSOR_SECONDS)}),
            _only_one(settings.home) as announce,
            open_instance(settings.home, databases) as instance,
            Services(settings.logs, databases.descriptor) as services,
        ):
            if settings.logs_url is not None:
                check_logs(settings.logs_url, settings.logs_endpoint)
            _require_free("--port", port)
            _require_free("--pages-port", pages_port)
            if settings.mlflow_url is None:
                _require_free("--mlflow-port", mlflow_port)
                _start_mlflow(services, settings, databases, mlflow_port)
            _start_pages(services, pages_port)
            _start_dagster(services, settings, port, lambda: end_lost_runs(instance, settings))
            services.wait_for(lambda: _get(f"{mlflow}/health") and _get(f"{pages}/health"))
            announce({"dagster": address, "mlflow": mlflow, "pages": pages, "pid": os.getpid()})
            if error := _load_error(_state(address)):
                console.print(f"the definitions do not load; mend them and reload them there: {error}", style="red")
            console.print(f"web UI  {address}\nMLflow  {mlflow}\npages   {pages}")
            console.print(f"ready in {time.monotonic() - started:.0f} s; Ctrl-C ends all")
            services.watch(console.print)
    except KeyboardInterrupt:
        console.print("ended")


def running_address(home: Path) -> str | None:
    """Return the address of the web UI of the `forge up` that is ready on a FORGE_HOME, or None."""
    try:
        with (home / "up.json").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        said = (home / "up.json").read_text()
        return str(json.loads(said)["dagster"]) if said else None
    return None


def _start_mlflow(services: Services, settings: Settings, databases: Databases, port: int) -> None:
    services.start(
        "MLflow",
        *("mlflow", "server", "--host", _HOST, "--port", str(port), "--workers", "1", "--no-serve-artifacts"),
        environment={  # not arguments: any user may read those, and an address may hold a password
            "MLFLOW_BACKEND_STORE_URI": databases.mlflow,
            "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(settings.mlflow_artifacts),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
    )


def _start_pages(services: Services, port: int) -> None:
    where = ("--host", _HOST, "--port", str(port), "--no-access-log", "--no-server-header")
    services.start("Pages", "uvicorn", "--factory", "forge_assets.pages:create_app", *where)


def _start_dagster(services: Services, settings: Settings, port: int, end_lost: Callable[[], None]) -> None:
    """Start one code server for the daemon and the web UI, then both, and wait until they live."""
    folder = make_socket_folder(settings.home)
    code, workspace = folder / "code-server.sock", folder / "workspace.yaml"

    def clear() -> None:
        code.unlink(missing_ok=True)
        end_lost()

    clear()
    location = {"grpc_server": {"socket": str(code), "location_name": "forge"}}
    workspace.write_text(yaml.safe_dump({"load_from": [location]}))
    what = ("--module-name", settings.definitions, "--location-name", "forge")
    command = ("dagster", "code-server", "start", "--socket", str(code), *what)
    services.start("Code server", *command, before_restart=clear)
    services.wait_for(code.exists)
    beginning = time.time()
    services.start("Daemon", "dagster._daemon", "run", "--workspace", str(workspace))
    where = ("--host", _HOST, "--port", str(port), "--workspace", str(workspace))
    services.start("Web UI", "dagster_webserver", *where)
    services.wait_for(lambda: _daemon_lives(_state(f"http://{_HOST}:{port}"), beginning))


@contextmanager
def _only_one(home: Path) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Hold FORGE_HOME's ``up.json``, and give what writes into it where everything is.

    Raises:
        PlatformError: another process holds it.
    """
    with (home / "up.json").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            where = running_address(home) or "still starting"
            raise PlatformError(f"`forge up` runs already on {home} ({where}): use it, or end it first") from error
        file.truncate(0)

        def announce(said: Mapping[str, Any]) -> None:
            file.write(json.dumps(said))
            file.flush()

        yield announce


def _require_free(option: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            message = (
                f"port {port} cannot be used ({error.strerror}): end the program that has it, or give {option} another"
            )
            raise PlatformError(message) from error


def _get(url: str, body: Mapping[str, Any] | None = None) -> bytes | None:
    """Return an answer's body, or None where nobody answers yet."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url, data, {"Content-Type": "application/json"}), timeout=10) as answer:
            content: bytes = answer.read()
    except OSError:
        return None
    return content


def _state(address: str) -> Mapping[str, Any] | None:
    """Ask the web UI for the daemon's heartbeats and for what does not load."""
    answer = _get(f"{address}/graphql", {"query": _STATE_QUERY})
    if answer is None:
        return None
    data: Mapping[str, Any] = json.loads(answer)["data"]
    return data


def _daemon_lives(state: Mapping[str, Any] | None, since: float) -> bool:
    if state is None:
        return False
    parts = [part for part in state["instance"]["daemonHealth"]["allDaemonStatuses"] if part["required"]]
    return all((part["lastHeartbeatTime"] or 0) > since for part in parts)


def _load_error(state: Mapping[str, Any] | None) -> str | None:
    """Return the innermost cause of what does not load, or None."""
    for entry in [] if state is None else state["workspaceOrError"]["locationEntries"]:
        if found := entry["locationOrLoadError"]:
            chain = [found["message"], *(link["error"]["message"] for link in found["errorChain"])]
            return str(chain[-1]).strip()
    return None
