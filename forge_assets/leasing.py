"""The devices of a step: held by the executor, or, where a step runs without it, by the step itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from forge_assets.settings import Settings, exported, load_settings
from forge_pipelines.gpu.inventory import Device, check_inventory, devices
from forge_pipelines.gpu.leases import Leases
from forge_pipelines.gpu.line import Holder
from forge_pipelines.gpu.request import GpuRequest


def leases(settings: Settings) -> Leases:
    """Return this machine's leases."""
    return Leases(settings.gpu_leases, lambda: devices(settings.gpu_inventory))


def check_possible(request: GpuRequest, settings: Settings) -> None:
    """Refuse a request that this machine can never grant; one that may run on the CPU is none.

    Raises:
        ConfigError: there are too few devices, or none of the product.
    """
    inventory = devices(settings.gpu_inventory) if request.count else ()
    if inventory or settings.when_no_gpu == "fail":
        check_inventory(request, inventory)


@contextmanager
def leased(request: GpuRequest, run: str, step: str, say: Callable[[str], None]) -> Iterator[tuple[Device, ...]]:
    """Hold the devices that a step asks for, and show CUDA no others, while the context lasts.

    Args:
        request: what is asked for. A machine without devices grants none, unless the site wants that to fail.
        run: who asks.
        step: who asks.
        say: told of the wait, and of what is held.

    Raises:
        ConfigError: this machine can never grant the request.
        PlatformError: the folder of the leases cannot be used, or a device went away.
    """
    settings = load_settings()
    check_possible(request, settings)
    if request.count == 0 or not devices(settings.gpu_inventory):
        with exported({"CUDA_VISIBLE_DEVICES": ""}):
            yield ()
        return
    with leases(settings).lease(request, Holder.here(run, step), say) as lease, exported(lease.variables()):
        say(f"holds {', '.join(f'{device.name} ({device.uuid})' for device in lease.devices)}")
        yield lease.devices
