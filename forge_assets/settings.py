"""What a site sets: the only reader of the environment. Everything else is handed these values."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from forge_pipelines.errors import ConfigError
from forge_pipelines.ledger.addresses import addresses
from forge_pipelines.manifest import Value
from forge_pipelines.sources.connections import Connection, connections_of, parse_connection, written_connection

DEFINITIONS = "forge_assets.definitions"
PAGES_URL = "http://127.0.0.1:3030"
MLFLOW_URL = "http://127.0.0.1:5000"
STEP_VARIABLE = "FORGE_STEP"
GPU_LEASES = Path("/tmp/forge-gpu-leases")


WhenNoGpu = Literal["cpu", "fail"]
StepPlace = Literal["local", "cluster"]


class Settings(Value):
    """Where everything stands. Each value names the environment variable that sets it."""

    home: Path = Field(description="FORGE_HOME: the folder of all state. Default: `.forge` in the working folder.")
    store: str = Field(
        description="FORGE_STORE: folder, or fsspec address such as `s3://bucket/prefix`, of what is published. "
        "Default: `store` below the home."
    )
    cache: Path = Field(description="FORGE_CACHE: folder of what can be made again. Default: `cache` below the home.")
    postgres_url: str | None = Field(
        description="FORGE_POSTGRES_URL: a PostgreSQL server, as `postgresql://user:password@host:port/database`. "
        "Default: an embedded one."
    )
    mlflow_url: str | None = Field(
        description="FORGE_MLFLOW_URL: an MLflow server, as `http://host:port`. Default: `forge up` starts one, and "
        "without it the database is used directly."
    )
    definitions: str = Field(
        description=f"FORGE_DEFINITIONS: the Python module whose `defs` is run. Default: `{DEFINITIONS}`."
    )

    pages_url: str = Field(
        PAGES_URL,
        description="FORGE_PAGES_URL: where a browser finds published pages, as `http://host:port`. Default: where "
        f"`forge up` serves them, {PAGES_URL}.",
    )
    alert_webhook: SecretStr | None = Field(
        None, description="FORGE_ALERT_WEBHOOK: an address that is told of failed runs. Default: the log alone."
    )
    logs_url: str | None = Field(
        None,
        description="FORGE_LOGS: an address such as `s3://bucket/prefix` where the output of every step is kept. "
        "Default: below the home.",
    )
    logs_endpoint: str | None = Field(
        None, description="AWS_ENDPOINT_URL: the object store of FORGE_LOGS, where it is not Amazon's."
    )
    kubernetes: Path | None = Field(
        None,
        description="FORGE_KUBERNETES: a YAML file that describes the cluster in which steps with GPUs run. "
        "Default: they run on this machine.",
    )
    gpu_inventory: Path | None = Field(
        None,
        description="FORGE_GPU_INVENTORY: a JSON file that declares the devices, for MIG slices and for trials. "
        "Default: what NVML finds.",
    )
    gpu_leases: Path = Field(
        GPU_LEASES,
        description="FORGE_GPU_LEASES: the folder of locks that all users of this machine share. "
        f"Default: `{GPU_LEASES}`.",
    )
    when_no_gpu: WhenNoGpu = Field(
        "cpu",
        description="FORGE_WHEN_NO_GPU: `cpu` or `fail`, for a step that asks for GPUs on a machine that has none. "
        "Default: `cpu`, said loudly.",
    )

    @property
    def mlflow_page(self) -> str:
        """Where a browser finds MLflow, without any password."""
        parts = urlsplit(self.mlflow_url or MLFLOW_URL)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")

    @property
    def logs(self) -> Path:
        """Folder of the logs of child processes."""
        return self.home / "logs"

    @property
    def mlflow_uri(self) -> str:
        """Where MLflow is: its server, or its database."""
        return self.mlflow_url or addresses(self.home, self.postgres_url).mlflow

    @property
    def mlflow_artifacts(self) -> Path:
        """Folder of the files that MLflow keeps."""
        return self.home / "mlflow"


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        ConfigError: a variable holds something impossible; the message names it.
    """
    home = _folder("FORGE_HOME", Path(".forge"))
    postgres_url = os.environ.get("FORGE_POSTGRES_URL") or None
    webhook = _web_address("FORGE_ALERT_WEBHOOK", "https://host/path")
    addresses(home, postgres_url)  # raises where it is none
    return Settings(
        home=home,
        store=_store(home / "store"),
        cache=_folder("FORGE_CACHE", home / "cache"),
        postgres_url=postgres_url,
        mlflow_url=_web_address("FORGE_MLFLOW_URL"),
        definitions=_module(),
        pages_url=(_web_address("FORGE_PAGES_URL") or PAGES_URL).rstrip("/"),
        alert_webhook=None if webhook is None else SecretStr(webhook),
        logs_url=_logs(),
        logs_endpoint=_web_address("AWS_ENDPOINT_URL"),
        kubernetes=_file("FORGE_KUBERNETES"),
        gpu_inventory=_file("FORGE_GPU_INVENTORY"),
        gpu_leases=_folder("FORGE_GPU_LEASES", GPU_LEASES),
        when_no_gpu=_when_no_gpu(),
    )


def step_place() -> StepPlace | None:
    """Say where the executor has put the step that this process belongs to; None where no executor runs it."""
    match os.environ.get(STEP_VARIABLE):
        case "local":
            return "local"
        case "cluster":
            return "cluster"
        case _:
            return None


def cuda_devices() -> list[str]:
    """Return the devices that a step that has its lease sees by CUDA, as CUDA calls them."""
    return [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]


def connection(name: str) -> Connection:
    """Return what the site gives as a database or an object store: `sources.connections.Connections`.

    It stands in the variable FORGE_CONNECTION_<NAME>, or else in the YAML file that FORGE_CONNECTIONS names.

    Raises:
        ConfigError: it is not given, or damaged; the message says where, and never quotes it.
    """
    variable, file = f"FORGE_CONNECTION_{name.upper()}", _file("FORGE_CONNECTIONS")
    if text := os.environ.get(variable):
        return written_connection(text, f"the environment variable {variable}")
    held = {} if file is None else connections_of(file, "FORGE_CONNECTIONS")
    if name in held:
        return parse_connection(held[name], f"the connection {name} in {file}")
    also = "the file that FORGE_CONNECTIONS names" if file is None else file
    raise ConfigError(f"the connection {name} is not known here: set {variable}, or write {name} into {also}")


@contextmanager
def exported(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, for the libraries and child processes that read them, while the context lasts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _folder(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable) or default).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{variable} is {folder}, which is no folder: name one, or a path where one can be made")
    return folder


def _store(default: Path) -> str:
    address = os.environ.get("FORGE_STORE") or str(default)
    if "://" not in address:
        return str(_folder("FORGE_STORE", default))
    import fsspec

    protocol = address.partition("://")[0]
    if protocol not in fsspec.available_protocols():
        raise ConfigError(
            f"FORGE_STORE is {address}, and nothing here reads {protocol}://; name a folder or an s3:// URL"
        )
    return address


def _logs() -> str | None:
    address = os.environ.get("FORGE_LOGS") or None
    if address is not None and not (address.startswith("s3://") and urlsplit(address).netloc):
        raise ConfigError(f"FORGE_LOGS is {address}, which is no address of the form s3://bucket/prefix")
    return address


def _file(variable: str) -> Path | None:
    path = os.environ.get(variable)
    return Path(path).expanduser().absolute() if path else None


def _when_no_gpu() -> WhenNoGpu:
    match os.environ.get("FORGE_WHEN_NO_GPU") or "cpu":
        case "cpu":
            return "cpu"
        case "fail":
            return "fail"
        case other:
            raise ConfigError(f"FORGE_WHEN_NO_GPU is {other}; it is cpu or fail")


def _web_address(variable: str, form: str = "http://host:port") -> str | None:
    url = os.environ.get(variable) or None
    if url is not None and not (urlsplit(url).scheme in {"http", "https"} and urlsplit(url).hostname):
        raise ConfigError(f"{variable} is no address of the form {form}")
    return url


def _module() -> str:
    module = os.environ.get("FORGE_DEFINITIONS") or DEFINITIONS
    if not all(part.isidentifier() for part in module.split(".")):
        raise ConfigError(f"FORGE_DEFINITIONS is {module}, which is no Python module: write it as {DEFINITIONS}")
    return module
