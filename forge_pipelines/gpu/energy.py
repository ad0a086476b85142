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
        """Return what all devices together have drawn; None where nobody counts it.

        Args:
            seconds_old: how long ago that may have been read; it takes a moment.
        """
        now = time.monotonic()
        if self._before is not None and now - self._looked >= seconds_old:
            drawn = _drawn_joules(self._uuids)
            self._looked, self._joules = now, None if drawn is None else drawn - self._before
        return self._joules


def _drawn_joules(uuids: Sequence[str]) -> float | None:
    """Return what devices have drawn since their driver was loaded."""
    if not uuids:
        return None
    with nvml() as library:
        if library is None:
            return None
        try:
            handles = [library.nvmlDeviceGetHandleByUUID(uuid) for uuid in uuids]
            return float(sum(map(library.nvmlDeviceGetTotalEnergyConsumption, handles))) / 1000
        # No such device (a part of one, under MIG), or one older than Volta, which does not count.
        except (library.NVMLError_NotFound, library.NVMLError_NotSupported, library.NVMLError_InvalidArgument):
            return None
