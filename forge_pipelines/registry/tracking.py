"""The way to MLflow: its server or its database, reached within seconds or refused in one sentence."""

import re
from functools import cache, cached_property
from types import ModuleType
from typing import Any

from forge_pipelines.errors import ConfigError, DataError, PlatformError
from forge_pipelines.ledger.postgres import exclusive
from forge_pipelines.manifest import Value, digest

_REACH_SECONDS = 3
_RETRIES = 2


class Experiment(Value):
    """A model's experiment, which holds its runs.

    Attributes:
        identity: tells this experiment from one of the same name in another MLflow, by whatever way it is reached.
    """

    experiment_id: str
    identity: str


class Tracking:
    """One MLflow, connected to when it is first asked something.

    Args:
        tracking_uri: ``http(s)://…`` of a tracking server, or the URL of its database, such as ``postgresql://…``.
        artifact_root: folder or URL that the artifacts of runs stand under, needed with a database; a server has a root
            of its own, which must not be behind its proxy where the same database is also used directly.
    """

    def __init__(self, tracking_uri: str, artifact_root: str | None = None) -> None:
        self._uri = tracking_uri
        self._artifact_root = artifact_root.rstrip("/") if artifact_root else None

    @property
    def address(self) -> str:
        """Where MLflow is, without user and password."""
        return re.sub(r"(?<=//)[^/]*@|(?<=[?&])password=[^&]*&?", "", self._uri)

    def link(self, page: str) -> str | None:
        """Return the address of a page of the web UI (``models/tiny/versions/1``), or None without a server."""
        return f"{self.address.rstrip('/')}/#/{page}" if self._is_server else None

    def ask(self, method: str, *arguments: Any, unless: str | None = None, **options: Any) -> Any:
        """Call one method of ``mlflow.MlflowClient`` and return its answer; None at the MLflow error code ``unless``.

        Raises:
            PlatformError: MLflow cannot be reached, or did not do what it was asked.
        """
        _import_mlflow()
        from mlflow.exceptions import MlflowException

        try:
            return getattr(self._client, method)(*arguments, **options)
        except MlflowException as error:
            if unless is not None and error.error_code == unless:
                return None
            raise self._failure(f"failed at {method}", error) from error
        except OSError as error:
            raise self._failure(f"failed at {method}", error) from error

    def experiment(self, model: str) -> Experiment:
        """Return a model's experiment, and make it first if it is missing.

        Raises:
            DataError: it was deleted in MLflow.
            ConfigError: its artifacts cannot be reached from here.
            PlatformError: MLflow cannot be reached.
        """
        found = self.ask("get_experiment_by_name", model)
        if found is None:
            self.ask("create_experiment", model, self._artifact_location(model), unless="RESOURCE_ALREADY_EXISTS")
            found = self.ask("get_experiment_by_name", model)
        if found.lifecycle_stage != "active":
            raise DataError(f"experiment {model} was deleted in MLflow at {self.address}; restore it there")
        if found.artifact_location.startswith("mlflow-artifacts:") and not self._is_server:
            message = (
                f"experiment {model} keeps its artifacts behind an MLflow server and cannot be used through its "
                f"database at {self.address}; name the server's http address instead"
            )
            raise ConfigError(message)
        identity = digest([found.name, found.experiment_id, found.creation_time])
        return Experiment(experiment_id=found.experiment_id, identity=identity)

    @property
    def _is_server(self) -> bool:
        return self._uri.startswith(("http://", "https://"))

    @cached_property
    def _client(self) -> Any:
        mlflow = _import_mlflow()
        if self._is_server:
            self._reach_server()
            return mlflow.MlflowClient(self._uri, self._uri)
        if not self._uri.startswith("postgresql://"):
            raise ConfigError(f"«{self.address}» is no address of MLflow; write http://…, https://… or postgresql://…")
        if self._artifact_root is None:
            raise ConfigError(f"MLflow at {self.address} is a database; name the folder that artifacts stand in, too")
        # MLflow makes its tables when first asked, and fails when two processes do so at once.
        with exclusive(self._uri, "mlflow tables"):
            client = mlflow.MlflowClient(self._uri, self._uri)
            client.search_experiments(max_results=1)
        return client

    def _reach_server(self) -> None:
        from mlflow.exceptions import MlflowException
        from mlflow.utils.credentials import get_default_host_creds
        from mlflow.utils.rest_utils import http_request

        credentials = get_default_host_creds(self._uri)
        try:
            answer = http_request(credentials, "/health", "GET", max_retries=1, timeout=_REACH_SECONDS)
        except MlflowException as error:
            raise self._failure("cannot be reached", error) from error
        if answer.status_code != 200:
            raise PlatformError(f"what answers at {self.address} is no MLflow server (HTTP {answer.status_code})")

    def _artifact_location(self, model: str) -> str | None:
        return None if self._is_server else f"{self._artifact_root}/{model}"

    def _failure(self, what: str, error: Exception) -> PlatformError:
        root = error
        while isinstance(root.__cause__ or root.__context__, Exception):
            root = root.__cause__ or root.__context__  # type: ignore[assignment]
        detail = " ".join(str(root).split())
        return PlatformError(f"MLflow at {self.address} {what} ({detail[:300]}); start or mend it and run this again")


@cache
def _import_mlflow() -> ModuleType:
    import mlflow
    from mlflow import environment_variables as settings
    from mlflow.telemetry import set_telemetry_client

    settings.MLFLOW_DISABLE_TELEMETRY.set(True)
    set_telemetry_client()  # takes the client away that importing made; it connects at its first record, not before
    if not settings.MLFLOW_HTTP_REQUEST_MAX_RETRIES.is_set():
        settings.MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(_RETRIES)
    return mlflow  # type: ignore[no-any-return]
