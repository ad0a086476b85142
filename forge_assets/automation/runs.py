"""How runs are told apart: their tags, which the list of runs shows."""

from collections.abc import Mapping
from typing import Literal

import dagster as dg

MODEL_TAG = "forge/model"
TRIGGER_TAG = "forge/trigger"
VERSION_TAG = "forge/version"

Trigger = Literal["by hand", "cron", "new documents", "stale"]


def run_tags(model: str, trigger: Trigger) -> Mapping[str, str]:
    """Return the tags of a run: which model, and what started it."""
    return {MODEL_TAG: model, TRIGGER_TAG: trigger}


def tag_version(context: dg.AssetExecutionContext, version: int) -> None:
    """Tag the running run with the version that it registered."""
    context.instance.add_run_tags(context.run_id, {VERSION_TAG: str(version)})
