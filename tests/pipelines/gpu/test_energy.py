"""What GPUs draw is counted where NVML counts it, and a count that fails is none; NVML itself is played here."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pynvml
import pytest

from forge_pipelines.gpu import energy
from forge_pipelines.gpu.energy import EnergyMeter


@dataclass(slots=True)
class Played:
    """NVML of a machine whose devices have drawn so many millijoules each, by uuid."""

    drawn: dict[str, int] = field(default_factory=dict)
    error: pynvml.NVMLError | None = None

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802 - NVML's name
        if uuid not in self.drawn:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802 - NVML's name
        if self.error:
            raise self.error
        return self.drawn[handle]


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    library = Played({"GPU-0": 5_000_000, "GPU-1": 7_000_000, "GPU-2": 9_000_000})

    @contextmanager
    def nvml() -> Iterator[Played]:
        yield library

    monkeypatch.setattr(energy, "nvml", nvml)
    return library


def test_a_step_is_charged_for_its_own_devices_from_its_begin_on(played: Played) -> None:
    meter = EnergyMeter(["GPU-0", "GPU-2"])
    played.drawn = {"GPU-0": 5_001_500, "GPU-1": 8_000_000, "GPU-2": 9_000_250}
    assert meter.joules(seconds_old=0) == pytest.approx(1.75)


def test_a_moments_old_figure_does_for_what_is_shown(played: Played) -> None:
    meter = EnergyMeter(["GPU-0"])
    first = meter.joules()
    played.drawn["GPU-0"] += 1000
    assert meter.joules() == first
    assert meter.joules(seconds_old=0) == 1


@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_UNKNOWN])
def test_a_count_that_fails_meanwhile_is_none_and_ends_nothing(played: Played, code: int) -> None:
    meter = EnergyMeter(["GPU-0"])
    played.error = pynvml.NVMLError(code)
    assert meter.joules(seconds_old=0) is None


def test_a_counter_that_began_anew_and_a_part_of_a_device_are_not_counted(played: Played) -> None:
    meter = EnergyMeter(["GPU-0"])
    played.drawn["GPU-0"] = 10
    assert meter.joules(seconds_old=0) is None
    assert EnergyMeter(["MIG-1"]).joules() is None
