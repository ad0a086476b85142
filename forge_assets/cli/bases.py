"""`forge import-base`: an open model, brought in once."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from forge_assets.cli.screen import live_progress
from forge_assets.progress import LISTENER
from forge_assets.resources import forge_resources
from forge_assets.settings import Settings
from forge_pipelines.bases.config import BaseConfig
from forge_pipelines.bases.stage import import_base
from forge_pipelines.errors import ConfigError


def bring_in(arguments: Mapping[str, Any], settings: Settings) -> None:
    """Bring an open model in, and say what it is.

    Args:
        arguments: the fields of a `BaseConfig`, as typed.
        settings: where the store is.

    Raises:
        ConfigError: an argument says something impossible.
        DataError: there is no such model, or it is refused.
        PlatformError: a hub cannot be reached, or the converting process was killed.
    """
    console = Console(soft_wrap=True, highlight=False)
    try:
        config = BaseConfig.model_validate(arguments)
    except ValidationError as error:
        fault = error.errors()[0]
        raise ConfigError(f"{fault['loc'][0]}: {fault['msg']}") from error
    store = forge_resources(settings)["forge_store"].open()
    with live_progress(console):
        publication = import_base(config, store, settings.logs / f"{config.name}-import.log", LISTENER.get())
    counts, fresh = publication.manifest.counts, publication.fresh
    console.print(
        f"base {config.name}: {counts['model_type']}, {counts['parameters']:,} parameters, {counts['form']}, "
        f"{counts['weights']}, {publication.manifest.fingerprint[:12]}"
        + (f" ({publication.seconds:.1f} s)" if fresh else " (unchanged)")
    )
