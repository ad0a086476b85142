"""What a step asks of NVIDIA devices: one tag, `nvidia.com/gpu`. The only place where a request is validated."""

from collections.abc import Mapping

from pydantic import Field

from forge_pipelines.manifest import Value

GPU_TAG = "nvidia.com/gpu"
PRODUCT_TAG = "forge/gpu-product"


class GpuRequest(Value):
    """How many devices a step needs, and of which product."""

    count: int = Field(1, ge=0, description="Number of devices; 0 asks for none.")
    product: str | None = Field(
        None, min_length=1, description="Prefix of the device's name, for example `NVIDIA H200`."
    )

    def tags(self) -> Mapping[str, str]:
        """Return the Dagster op tags that carry the request; none when no device is asked for."""
        if self.count == 0:
            return {}
        product = {PRODUCT_TAG: self.product} if self.product else {}
        return {GPU_TAG: str(self.count), **product}
