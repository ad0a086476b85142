"""What every project of Forge has beside its own components: resources, the executor, alerts, upkeep."""

from pathlib import Path

import dagster as dg

from forge_assets.automation.alerts import forge_alerts
from forge_assets.automation.reconcile import forge_reconciler
from forge_assets.automation.retention import retention_definitions
from forge_assets.executor.executor import forge_executor
from forge_assets.resources import forge_resources
from forge_assets.settings import load_settings
from forge_pipelines.errors import ConfigError
from forge_pipelines.gpu.request import GpuRequest


def forge_definitions(folder: Path, *own: dg.Definitions) -> dg.Definitions:
    """Return the one `Definitions` of a project.

    Args:
        folder: the package whose `defs` folder holds the components.
        own: what the project defines elsewhere.

    Raises:
        ConfigError: a variable of the environment holds something impossible, or an op's tags ask for GPUs in a way
            that nobody understands.
    """
    definitions = dg.Definitions.merge(dg.load_from_defs_folder(path_within_project=folder), *own, forge_platform())
    for asset in definitions.assets or ():
        if isinstance(asset, dg.AssetsDefinition) and asset.is_executable:
            _check_request(asset)
    return definitions


def forge_platform() -> dg.Definitions:
    """Return what Forge brings itself.

    Raises:
        ConfigError: a variable of the environment holds something impossible.
    """
    own = dg.Definitions(
        resources=forge_resources(load_settings()), executor=forge_executor, sensors=[forge_alerts, forge_reconciler]
    )
    return dg.Definitions.merge(own, retention_definitions())


def _check_request(asset: dg.AssetsDefinition) -> None:
    try:
        GpuRequest.of_tags(asset.op.tags)
    except ConfigError as error:
        raise ConfigError(
            f"the asset {asset.key.to_user_string() if len(asset.keys) == 1 else asset.op.name}: {error}"
        ) from error
