"""The number format of a network where nobody names one: bf16 where the device has units that multiply it, else fp32.

A CPU may know bf16 and still be slow at it: without tiles (AMX), one with ``avx512_bf16`` takes 1.5 to 2 times as
long as in fp32. So the choice goes by what the device has, which stays the same for every relaunch of a training.
"""

from pathlib import Path
from typing import Literal

from forge_pipelines.gpu.nvml import nvml
from forge_pipelines.training.config import TrainingConfig

_TILES = "amx_bf16"
_FIRST_CAPABILITY = (8, 0)
"""CUDA's compute capability from which on GPUs multiply bf16: Ampere."""


def settled_precision(config: TrainingConfig) -> Literal["fp32", "bf16"]:
    """Return the precision that a recipe names, or what ``auto`` becomes on this machine.

    It goes by this machine's GPUs where the recipe asks for GPUs and there are any, and else by its CPU.
    """
    if config.precision != "auto":
        return config.precision
    return "bf16" if has_fast_bf16(settled_device(config)) else "fp32"


def settled_device(config: TrainingConfig) -> Literal["cpu", "cuda"]:
    """Return what a recipe is trained on by this machine: its GPUs where it asks for some and there are any."""
    return "cuda" if config.gpus.count and _capabilities() else "cpu"


def has_fast_bf16(device: Literal["cpu", "cuda"], cpu: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether networks run faster in bf16 than in fp32 on this machine.

    Args:
        device: on its CPU, or on its GPUs: all of them must have bf16, because a step may be given any.
        cpu: file in which Linux describes the processors.
    """
    if device == "cuda":
        return min(_capabilities(), default=(0, 0)) >= _FIRST_CAPABILITY
    described = (line.partition(":") for line in cpu.read_text().splitlines())
    flags = next((flags for name, _, flags in described if name.strip() == "flags"), "")
    return _TILES in flags.split()


def _capabilities() -> list[tuple[int, int]]:
    """Return the compute capability, major and minor, of each of this machine's GPUs; none without a driver."""
    with nvml() as library:
        handles = map(library.nvmlDeviceGetHandleByIndex, range(library.nvmlDeviceGetCount())) if library else ()
        return [library.nvmlDeviceGetCudaComputeCapability(handle) for handle in handles]
