"""The one Definitions object: every component under `defs/`, the resources that their assets use, and the alerts."""

from pathlib import Path

import dagster as dg

from forge_assets.automation.alerts import forge_alerts
from forge_assets.resources import forge_resources
from forge_assets.settings import load_settings

defs = dg.Definitions.merge(
    dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
    dg.Definitions(resources=forge_resources(load_settings()), sensors=[forge_alerts]),
)
