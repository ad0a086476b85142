"""Which NVIDIA devices this machine has, by NVML."""

from forge_pipelines.manifest import Value


class Device(Value):
    """One NVIDIA device: its index, its product name, its memory in bytes."""

    index: int
    name: str
    memory_bytes: int


def devices() -> tuple[Device, ...]:
    """Return this machine's devices in NVML's order; none where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded, pynvml.NVMLError_NoPermission):
        return ()
    try:
        return tuple(_device(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount()))
    finally:
        pynvml.nvmlShutdown()


def _device(pynvml: object, index: int) -> Device:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)  # type: ignore[attr-defined]
    return Device(
        index=index,
        name=str(pynvml.nvmlDeviceGetName(handle)),  # type: ignore[attr-defined]
        memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),  # type: ignore[attr-defined]
    )
