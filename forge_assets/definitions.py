"""The one Definitions object: every component under `defs/`, and what every project of Forge has beside them."""

from pathlib import Path

import dagster as dg

from forge_assets.platform import forge_platform

defs = dg.Definitions.merge(dg.load_from_defs_folder(path_within_project=Path(__file__).parent), forge_platform())
