"""What the ranks' GPUs have drawn, by NVML's own counter."""

import time
from typing import Any

import pynvml
import torch

_SECONDS_BETWEEN_LOOKS = 1.0
_UNKNOWN = (
    pynvml.NVMLError_LibraryNotFound,
    pynvml.NVMLError_DriverNotLoaded,
    pynvml.NVMLError_NoPermission,
    pynvml.NVMLError_NotFound,
    pynvml.NVMLError_NotSupported,
    pynvml.NVMLError_InvalidArgument,
)
"""No driver, no such device (a part of one, under MIG), or one older than Volta, which does not count."""


class EnergyMeter:
    """Counts from when it is made.

    Args:
        num_gpus: how many of the devices that CUDA shows are used, from the first on.
    """

    def __init__(self, num_gpus: int) -> None:
        self._devices = _handles(num_gpus)
        self._before = _millijoules(self._devices)
        self._looked, self._joules = 0.0, None if self._before is None else 0.0

    def joules(self) -> float | None:
        """Return what all devices together have drawn, as it was at most a second ago; None where nobody counts it."""
        now = time.monotonic()
        if self._before is not None and now - self._looked >= _SECONDS_BETWEEN_LOOKS:
            drawn = _millijoules(self._devices)
            self._looked, self._joules = now, None if drawn is None else (drawn - self._before) / 1000
        return self._joules


def _handles(num_gpus: int) -> list[Any]:
    if num_gpus == 0:
        return []
    try:
        pynvml.nvmlInit()
        uuids = (str(torch.cuda.get_device_properties(number).uuid) for number in range(num_gpus))
        return [pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid.removeprefix('GPU-')}") for uuid in uuids]
    except _UNKNOWN:
        return []


def _millijoules(devices: list[Any]) -> int | None:
    try:
        return sum(map(pynvml.nvmlDeviceGetTotalEnergyConsumption, devices)) if devices else None
    except _UNKNOWN:
        return None
