"""What a step asks of NVIDIA devices: one tag, `nvidia.com/gpu`. The only place where a request is validated."""

import re
from collections.abc import Mapping
from typing import Self

from pydantic import Field

from forge_pipelines.errors import ConfigError
from forge_pipelines.manifest import Value

GPU_TAG = "nvidia.com/gpu"
PRODUCT_TAG = "forge/gpu-product"


class GpuRequest(Value):
    """How many devices a step needs, and of which product."""

    count: int = Field(1, ge=0, description="Number of devices; 0 asks for none.")
    product: str | None = Field(
        None, min_length=1, description="Prefix of the device's name, for example `NVIDIA H200`."
    )

    @classmethod
    def of_tags(cls, tags: Mapping[str, str]) -> Self:
        """Read the request that a step's tags carry; of no device when they carry none.

        Raises:
            ConfigError: a tag holds something impossible, or there is a product without a number.
        """
        count, product = tags.get(GPU_TAG), tags.get(PRODUCT_TAG)
        if product is not None and not product.strip():
            raise ConfigError(f"the tag {PRODUCT_TAG} is empty; it must be how the device's name begins: NVIDIA H200")
        if count is None:
            if product is not None:
                raise ConfigError(f"the tag {PRODUCT_TAG} is {product!r} without {GPU_TAG}, which must say how many")
            return cls(count=0)
        if not isinstance(count, str) or not re.fullmatch(r"[0-9]{1,6}", count):
            raise ConfigError(f"the tag {GPU_TAG} is {count!r}; it must be a whole number, 0 or more, as text: '2'")
        return cls(count=int(count), product=product)

    def tags(self) -> Mapping[str, str]:
        """Return the Dagster op tags that carry the request; none when no device is asked for."""
        if self.count == 0:
            return {}
        product = {PRODUCT_TAG: self.product} if self.product else {}
        return {GPU_TAG: str(self.count), **product}

    def fits(self, name: str) -> bool:
        """Say whether a device of this name would do."""
        return name.startswith(self.product or "")

    def __str__(self) -> str:
        product = f" of product {self.product}" if self.product else ""
        return f"{self.count} GPU{'' if self.count == 1 else 's'}{product}"
