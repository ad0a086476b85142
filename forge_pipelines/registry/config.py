"""What a model's YAML may say under `registration:`."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from forge_pipelines.errors import ConfigError
from forge_pipelines.evaluation.report import METRICS
from forge_pipelines.manifest import Value
from forge_pipelines.registry.gates import check_gates


def _sound(gate: str) -> str:
    try:
        check_gates([gate], METRICS)
    except ConfigError as error:
        raise ValueError(str(error)) from error
    return gate


def _free(alias: str) -> str:
    if re.fullmatch(r"latest|v\d+", alias):
        raise ValueError(f"MLflow reserves the alias {alias}; choose another, for example candidate")
    return alias


class RegistrationConfig(Value):
    """What a model must show before it is registered."""

    gates: tuple[Annotated[str, AfterValidator(_sound)], ...] = Field(
        ("heldout/bits_per_character < base",),
        description="Conditions, all of which must hold: `<metric> <op> <number, base or xz>`, where op is <, <=, > or "
        ">=. Against `base`, the whole 95 % interval of the paired difference must lie on that side of zero.",
    )
    alias: Annotated[str, AfterValidator(_free)] = Field(
        "candidate", pattern=r"^[a-z][a-z0-9_-]*$", description="Alias the new version is given."
    )
