"""Which NVIDIA devices this machine has: those that NVML finds, or those that a file declares."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from forge_pipelines.errors import ConfigError
from forge_pipelines.gpu.nvml import nvml
from forge_pipelines.gpu.request import GpuRequest
from forge_pipelines.manifest import Value

_EXAMPLE = '[{"uuid": "MIG-1", "name": "NVIDIA H100 MIG 1g.10gb", "memory_bytes": 10737418240}]'


class DeclaredDevice(Value):
    """One device, as an inventory file declares it."""

    uuid: str = Field(min_length=1, max_length=96, description="What CUDA_VISIBLE_DEVICES calls it: `GPU-…`, `MIG-…`.")
    name: str = Field(min_length=1, description="Its product, for example `NVIDIA H200`.")
    memory_bytes: int = Field(ge=0, description="Its memory, in bytes.")
    simulated: bool = Field(False, description="It is leased like any other, and work on it runs on the CPU.")


class Device(DeclaredDevice):
    """One device of this machine; its index is NVML's, or its position in the inventory file."""

    index: int


def devices(declared: Path | None = None) -> tuple[Device, ...]:
    """Return this machine's devices, in order; none where there is neither a file nor a driver.

    Args:
        declared: a JSON file that declares them, instead of NVML.

    Raises:
        ConfigError: the file is missing, or does not declare devices.
    """
    return tuple(_found() if declared is None else _declared(declared))


def check_inventory(request: GpuRequest, inventory: Iterable[Device]) -> None:
    """Refuse a request that this machine can never grant.

    Raises:
        ConfigError: there are too few devices, or none of the product; the sentence says what there is.
    """
    names = [device.name for device in inventory]
    fitting = sum(request.fits(name) for name in names)
    if request.count <= fitting:
        return
    there = ", ".join(f"{count} × {name}" for name, count in Counter(names).items()) or "no NVIDIA device"
    of_it = f" {fitting or 'none'} of it:" if request.product and names else ""
    raise ConfigError(f"the step asks for {request} and this machine has{of_it} {there}; ask for what there is")


def least_memory(names: Iterable[str], inventory: Iterable[Device]) -> int | None:
    """Return the bytes of the smallest of some devices; None where one of them is not in the inventory.

    Args:
        names: their uuids, as CUDA_VISIBLE_DEVICES lists them.
        inventory: the devices that there are.
    """
    memory = {device.uuid: device.memory_bytes for device in inventory}
    found = [memory.get(name) for name in names]
    known = [each for each in found if each is not None]
    return min(known, default=None) if len(known) == len(found) else None


def _declared(path: Path) -> Iterator[Device]:
    try:
        items = TypeAdapter(list[DeclaredDevice]).validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"the GPU inventory {path} cannot be read ({error.strerror}); mend FORGE_GPU_INVENTORY"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"[{part!r}]" for part in first["loc"])
        message = f"the GPU inventory {path} is wrong{' at ' + place if place else ''}: {first['msg']}"
        raise ConfigError(f"{message}; write it as {_EXAMPLE}") from error
    for uuid, times in Counter(item.uuid for item in items).items():
        if times > 1:
            raise ConfigError(f"the GPU inventory {path} declares {uuid} {times} times; a device's uuid is its own")
    for index, item in enumerate(items):
        yield Device(index=index, **item.model_dump())


def _found() -> Iterator[Device]:
    with nvml() as library:
        for index in range(library.nvmlDeviceGetCount() if library else 0):
            try:
                yield _device(library, index)
            except library.NVMLError_GpuIsLost:
                continue  # fallen off the bus: the machine has one less


def _device(library: Any, index: int) -> Device:
    handle = library.nvmlDeviceGetHandleByIndex(index)
    return Device(
        index=index,
        uuid=library.nvmlDeviceGetUUID(handle),
        name=library.nvmlDeviceGetName(handle),
        memory_bytes=int(library.nvmlDeviceGetMemoryInfo(handle).total),
    )
