"""What GPUs draw, by NVML's own counter."""

import time
from collections.abc import Sequence

from forge_pipelines.gpu.nvml import nvml

_SECONDS_BETWEEN_LOOKS = 1.0


class EnergyMeter:
    """Counts from when it is made.

    Args:
        uuids: the devices, by the names that NVML gives them.
    """

    def __init__(self, uuids: Sequence[str]) -> None:
        self._uuids = tuple(uuids)
        self._before = _drawn_joules(self._uuids)
        self._looked, self._joules = 0.0, None if self._before is None else 0.0

    def joules(self, *, seconds_old: float = _SECONDS_BETWEEN_LOOKS) -> float | None:
        """Return what all devices together have drawn; None where nobody counts it, or the counter began anew.

        Args:
            seconds_old: how long ago that may have been read; it takes a moment.
        """
        now = time.monotonic()
        if self._before is not None and now - self._looked >= seconds_old:
            drawn = _drawn_joules(self._uuids)
            self._looked = now
            self._joules = None if drawn is None or drawn < self._before else drawn - self._before
        return self._joules


def _drawn_joules(uuids: Sequence[str]) -> float | None:
    """Return what devices have drawn since their driver was loaded.

    None where there is none of that name (a part of a device, under MIG), where it is older than Volta and does not
    count, and where NVML fails otherwise: a figure must not end the work that it is about.
    """
    import pynvml

    if not uuids:
        return None
    try:
        with nvml() as library:
            if library is None:
                return None
            handles = [library.nvmlDeviceGetHandleByUUID(uuid) for uuid in uuids]
            return float(sum(map(library.nvmlDeviceGetTotalEnergyConsumption, handles))) / 1000
    except pynvml.NVMLError:
        return None
