"""Dagster's storage: its own PostgreSQL storage, on the server that Forge uses, which it starts where none runs.

`dagster.yaml` names it, so that `dg dev`, `dg launch` and every other command of Dagster's work as they are.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage

from forge_assets.settings import load_settings
from forge_pipelines.ledger.postgres import postgres


class ForgeStorage(DagsterPostgresStorage):
    """Runs, events and schedules in the database `dagster` of FORGE_POSTGRES_URL, or of the embedded server.

    Raises:
        ConfigError: FORGE_POSTGRES_URL is no address.
        PlatformError: the server cannot be reached, or does not start.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        settings, self._server = load_settings(), ExitStack()
        databases = self._server.enter_context(postgres(settings.home, settings.postgres_url))
        super().__init__(databases.dagster, inst_data=inst_data)
        # Dagster keeps the three storages and forgets this object: whoever has one of them uses the server.
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            vars(storage)["forge_server"] = self._server

    @classmethod
    def config_type(cls) -> Any:
        """Take no configuration: the environment says where the server is."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "ForgeStorage":
        """Open the storage."""
        return cls(inst_data, **config_value)

    def dispose(self) -> None:
        """Close the connections, and stop using the server."""
        super().dispose()  # type: ignore[misc]  # Dagster's annotations leave it out
        self._server.close()
