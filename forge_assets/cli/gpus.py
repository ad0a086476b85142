"""`forge gpus`: the devices of this machine, who holds each, and who waits."""

from rich.table import Table

from forge_assets.cli.screen import wide_console
from forge_assets.leasing import leases
from forge_assets.settings import Settings
from forge_pipelines.gpu.leases import LeasesState
from forge_pipelines.gpu.tenancy import DeviceState

_GIB = 1 << 30


def show_gpus(settings: Settings) -> int:
    """Print every device with its holder, then the queue in order; return the exit code, 0."""
    console = wide_console()
    state = leases(settings).state()
    if not state.devices:
        console.print("this machine has no NVIDIA device or driver; FORGE_GPU_INVENTORY may declare devices")
        return 0
    console.print(_devices(state))
    if state.waiting:
        console.print()
        console.print(_queue(state))
    return 0


def _devices(state: LeasesState) -> Table:
    table = _table("device", "product", "memory", "held by", "step", "since")
    for found in state.devices:
        device = found.device
        memory = f"{device.memory_bytes / _GIB:,.0f} GiB"
        name = f"{device.name} (simulated)" if device.simulated else device.name
        table.add_row(str(device.index), name, memory, *_holder(found), style=None if found.held else "dim")
    return table


def _holder(found: DeviceState) -> tuple[str, str, str]:
    if found.tenancy is None:
        return ("somebody without a lease" if found.held else "free"), "", ""
    holder = found.tenancy.holder
    since = f"{found.tenancy.since.astimezone():%Y-%m-%d %H:%M:%S}"
    return f"run {holder.run[:8]} of {holder.user}", holder.step, since


def _queue(state: LeasesState) -> Table:
    table = _table("queue", "waits for", "run", "step", "since")
    for place, waiting in enumerate(state.waiting, 1):
        holder, since = waiting.holder, f"{waiting.since.astimezone():%Y-%m-%d %H:%M:%S}"
        table.add_row(str(place), str(waiting.request), f"run {holder.run[:8]} of {holder.user}", holder.step, since)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
