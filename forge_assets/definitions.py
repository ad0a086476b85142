"""The one Definitions object: every component under `defs/`, and what every project of Forge has beside them."""

from pathlib import Path

from forge_assets.platform import forge_definitions

defs = forge_definitions(Path(__file__).parent)
