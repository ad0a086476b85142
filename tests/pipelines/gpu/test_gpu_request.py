"""One tag says what a step needs, and a wrong one is a sentence."""

import pytest

from forge_pipelines.errors import ConfigError
from forge_pipelines.gpu.request import GPU_TAG, PRODUCT_TAG, GpuRequest


@pytest.mark.parametrize(
    "request_", [GpuRequest(count=0), GpuRequest(count=2), GpuRequest(count=8, product="NVIDIA H200")], ids=str
)
def test_a_request_comes_back_from_its_tags(request_: GpuRequest) -> None:
    assert GpuRequest.of_tags({"other": "tag", **request_.tags()}) == request_


@pytest.mark.parametrize("count", ["two", "-1", "1.5", "", " 2", "+2", "²", "9" * 5000, 2])
def test_a_tag_that_is_no_number_names_itself_and_what_it_must_be(count: str) -> None:
    with pytest.raises(ConfigError, match=r"the tag nvidia.com/gpu is .*; it must be a whole number, 0 or more"):
        GpuRequest.of_tags({GPU_TAG: count})


def test_a_product_without_a_number_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"the tag forge/gpu-product is 'NVIDIA H200' without nvidia.com/gpu"):
        GpuRequest.of_tags({PRODUCT_TAG: "NVIDIA H200"})


def test_an_empty_product_is_refused() -> None:
    with pytest.raises(ConfigError, match="the tag forge/gpu-product is empty"):
        GpuRequest.of_tags({GPU_TAG: "1", PRODUCT_TAG: " "})
