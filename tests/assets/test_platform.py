"""What every project of Forge has beside its components, and what is refused when its definitions load."""

from pathlib import Path

import dagster as dg
import pytest

import forge_assets
from forge_assets.executor.executor import forge_executor
from forge_assets.platform import forge_definitions
from forge_pipelines.errors import ConfigError

FORGE = Path(forge_assets.__file__).parent


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        ({"nvidia.com/gpu": "two"}, r"^the asset own: the tag nvidia.com/gpu is 'two'; it must be a whole number"),
        ({"nvidia.com/gpu": "-1"}, r"^the asset own: the tag nvidia.com/gpu is '-1'; it must be a whole number"),
        ({"forge/gpu-product": "NVIDIA H200"}, r"^the asset own: .* without nvidia.com/gpu, which must say how many"),
    ],
)
def test_a_request_that_nobody_understands_is_refused_when_the_definitions_load(
    tags: dict[str, str], sentence: str
) -> None:
    @dg.asset(op_tags=tags)
    def own() -> None: ...

    with pytest.raises(ConfigError, match=sentence):
        forge_definitions(FORGE, dg.Definitions([own]))


def test_the_executor_upkeep_and_alerts_are_every_projects() -> None:
    definitions = forge_definitions(FORGE)
    assert definitions.executor is forge_executor
    assert {sensor.name for sensor in definitions.sensors or ()} >= {"forge_alerts", "forge_reconciler"}
    pools = {
        asset.key.path[-1]: asset.op.pool
        for asset in definitions.assets or ()
        if isinstance(asset, dg.AssetsDefinition)
    }
    heavy = {"raw_documents", "validated_corpus", "tokenized_shards"}
    assert {stage for stage, pool in pools.items() if pool == "forge_cpu"} == heavy
