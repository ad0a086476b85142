"""What assets are handed: the store, this machine, the registry. Thin: each opens something of `forge_pipelines`."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from logging import Logger
from pathlib import Path
from typing import Any

import dagster as dg

from forge_assets.settings import Settings, load_settings
from forge_pipelines.evaluation.stage import EvaluationEnvironment
from forge_pipelines.gpu.inventory import devices
from forge_pipelines.gpu.request import GpuRequest
from forge_pipelines.manifest import StageRequest
from forge_pipelines.progress import OnProgress
from forge_pipelines.registry.runs import curves
from forge_pipelines.registry.tracking import Tracking
from forge_pipelines.store import Store
from forge_pipelines.training.ranks import TrainingEnvironment


class StoreResource(dg.ConfigurableResource):
    """The artifact store.

    Attributes:
        address: a folder, or an fsspec URL.
        scratch: a local folder for unpublished work and copies of remote files.
    """

    address: str
    scratch: str

    def open(self) -> Store:
        """Return the store; any asset may read any manifest through it."""
        return Store(self.address, Path(self.scratch))


class MachineResource(dg.ConfigurableResource):
    """The machine that a step runs on.

    Attributes:
        cache: folder for compiled operations.
        logs: folder for the logs of child processes.
    """

    cache: str
    logs: str

    def training(self) -> TrainingEnvironment:
        """Describe the machine to the training stage."""
        return TrainingEnvironment(
            cache_folder=Path(self.cache), log_folder=Path(self.logs), visible_gpus=len(devices())
        )

    def evaluation(self) -> EvaluationEnvironment:
        """Describe the machine to the evaluation stage."""
        return EvaluationEnvironment(log_folder=Path(self.logs), num_gpus=len(devices()))

    def say_where(self, request: GpuRequest, log: Logger) -> None:
        """Say loudly when a step that asks for GPUs runs on the CPU."""
        if request.count and not devices():
            log.warning(f"this machine has no NVIDIA device: the step asked for {request.count} and runs on the CPU")


class RegistryResource(dg.ConfigurableResource):
    """MLflow. Its address may hold a password, and Dagster shows what a resource holds: it is read when opened."""

    def open(self) -> Tracking:
        """Return MLflow's tracking and registry."""
        settings = load_settings()
        return Tracking(settings.mlflow_uri, str(settings.mlflow_artifacts))

    def curves(self, training: StageRequest) -> AbstractContextManager[OnProgress]:
        """Give an ``on_progress`` that draws a training's metrics in MLflow, on the same curves at every relaunch."""
        return curves(self.open(), training.name, training.key, training.parameters)


def forge_resources(settings: Settings) -> Mapping[str, Any]:
    """Return the resources that Forge's components need, for the Definitions of any project."""
    return {
        "forge_store": StoreResource(address=settings.store, scratch=str(settings.home / "scratch")),
        "forge_machine": MachineResource(cache=str(settings.cache), logs=str(settings.logs)),
        "forge_registry": RegistryResource(),
    }
