"""The one place where a model hub may be reached: when a person asks for a model of it by name."""

import re
from pathlib import Path

from forge_pipelines.errors import PlatformError

_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_WANTED = ("*.json", "*.jinja", "*.safetensors", "*.model", "merges.txt", "vocab.txt")


def looks_like_a_hub_name(place: str) -> bool:
    """Tell whether a place is written ``organisation/model``."""
    return _NAME.fullmatch(place) is not None and not place.startswith((".", "/"))


def download(name: str, revision: str | None, folder: Path) -> Path:
    """Fetch a model's configuration, tokenizer and safetensors into a folder, and return it.

    Raises:
        PlatformError: the hub cannot be reached, or has no such model.
    """
    import huggingface_hub
    from httpx import HTTPError
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    offline = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_TELEMETRY = False, True
    try:
        huggingface_hub.snapshot_download(name, revision=revision, local_dir=folder, allow_patterns=list(_WANTED))
    except (HfHubHTTPError, LocalEntryNotFoundError, HTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PlatformError(
            f"{name} is no folder here, and the hub does not give it ({reason}); download it where there is a network, "
            "and name its folder"
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = offline
    return folder
