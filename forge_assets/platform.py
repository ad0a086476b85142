"""What every project of Forge has beside its own components: resources, the executor, alerts, upkeep."""

import dagster as dg

from forge_assets.automation.alerts import forge_alerts
from forge_assets.executor.executor import forge_executor
from forge_assets.resources import forge_resources
from forge_assets.settings import load_settings


def forge_platform() -> dg.Definitions:
    """Return it, for the one `Definitions` of a project.

    Raises:
        ConfigError: a variable of the environment holds something impossible.
    """
    return dg.Definitions(resources=forge_resources(load_settings()), executor=forge_executor, sensors=[forge_alerts])
