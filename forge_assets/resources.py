"""What assets are handed: the store, this machine, the registry. Thin: each opens something of `forge_pipelines`."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from forge_assets.leasing import leased
from forge_assets.output import followed
from forge_assets.settings import Settings, connection, cuda_devices, load_settings, step_place
from forge_pipelines.evaluation.stage import EvaluationEnvironment
from forge_pipelines.gpu.inventory import devices, least_memory
from forge_pipelines.gpu.request import GpuRequest
from forge_pipelines.manifest import StageRequest
from forge_pipelines.progress import OnProgress
from forge_pipelines.registry.runs import curves
from forge_pipelines.registry.tracking import Tracking
from forge_pipelines.sources.connections import Connections
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

    @contextmanager
    def leased(self, request: GpuRequest, context: dg.AssetExecutionContext) -> Iterator["Machine"]:
        """Give the machine to a step, with the devices that it asks for and no others, while the context lasts.

        The step's guard holds them already; where it has none, they are leased here. So whatever launches a step, no
        two use the same device. What the step's own processes write is shown with the step's output.

        Raises:
            ConfigError: this machine can never grant the request.
            PlatformError: the leases cannot be used.
        """
        with ExitStack() as stack:
            logs = Path(self.logs) / context.run_id / context.asset_key.to_python_identifier()
            if step_place() is not None:
                stack.enter_context(followed(logs))
            if step_place() != "local":
                step = context.asset_key.to_user_string()
                stack.enter_context(leased(request, context.run_id, step, context.log.info))
            names = cuda_devices()
            memory = least_memory(names, devices(load_settings().gpu_inventory)) if names else None
            machine = Machine(Path(self.cache), logs, len(names), memory)
            if request.count and not machine.visible_gpus:
                context.log.warning(f"no NVIDIA device is used: the step asked for {request} and runs on the CPU")
            yield machine


@dataclass(frozen=True, slots=True)
class Machine:
    """What a step may use.

    Attributes:
        cache: folder for compiled operations.
        logs: folder for the logs of the step's child processes.
        visible_gpus: devices that they see.
        gpu_memory_bytes: of the smallest of them; None where that is not known.
    """

    cache: Path
    logs: Path
    visible_gpus: int
    gpu_memory_bytes: int | None

    def training(self) -> TrainingEnvironment:
        """Describe it to the training stage."""
        return TrainingEnvironment(self.cache, self.logs, self.visible_gpus, self.gpu_memory_bytes)

    def evaluation(self) -> EvaluationEnvironment:
        """Describe it to the evaluation stage."""
        return EvaluationEnvironment(log_folder=self.logs, num_gpus=self.visible_gpus)


class RegistryResource(dg.ConfigurableResource):
    """MLflow. Its address may hold a password, and Dagster shows what a resource holds: it is read when opened."""

    def open(self) -> Tracking:
        """Return MLflow's tracking and registry."""
        settings = load_settings()
        return Tracking(settings.mlflow_uri, str(settings.mlflow_artifacts))

    def curves(self, training: StageRequest) -> AbstractContextManager[OnProgress]:
        """Give an ``on_progress`` that draws a training's metrics in MLflow, on the same curves at every relaunch."""
        return curves(self.open(), training.name, training.key, training.parameters)


class ConnectionsResource(dg.ConfigurableResource):
    """Databases and object stores, with their passwords: nothing is held, and each is read when it is asked for."""

    def open(self) -> Connections:
        """Return what finds a connection by its name."""
        return connection


def forge_resources(settings: Settings) -> Mapping[str, Any]:
    """Return the resources that Forge's components need, for the Definitions of any project."""
    return {
        "forge_store": StoreResource(address=settings.store, scratch=str(settings.home / "scratch")),
        "forge_machine": MachineResource(cache=str(settings.cache), logs=str(settings.logs)),
        "forge_registry": RegistryResource(),
        "forge_connections": ConnectionsResource(),
    }
