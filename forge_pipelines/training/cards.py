"""What is known of NVIDIA's cards without having one: memory, and how fast they multiply at most."""

import re
from dataclasses import dataclass

from forge_pipelines.errors import ConfigError

MIB, GIB = 1 << 20, 1 << 30
_UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12, "MIB": MIB, "GIB": GIB, "TIB": 1 << 40}


@dataclass(frozen=True, slots=True)
class Card:
    """A kind of GPU.

    Attributes:
        name: as NVML gives it.
        memory_bytes: as NVML gives it, which is a little less or more than what the name says.
        bf16_teraflops: peak of bf16 products summed in fp32, dense (not with 2:4 sparsity), in TFLOP/s; None where the
            card has no bf16.
        fp32_teraflops: peak of fp32 products, without tensor cores: how torch multiplies fp32 unless it is told
            otherwise.
    """

    name: str
    memory_bytes: int
    bf16_teraflops: float | None
    fp32_teraflops: float | None

    def flops(self, precision: str) -> float | None:
        """Return the peak for a recipe's precision, in FLOP/s; None where it is not known."""
        peak = self.bf16_teraflops if precision == "bf16" else self.fp32_teraflops
        return None if peak is None else peak * 1e12


# Peaks from NVIDIA's data sheets; where those give the figure with sparsity alone, half of it. The GeForce and RTX rows
# are from the appendices of the whitepapers on GA102 and AD102. Memory is NVML's total, in MiB.
CARDS = (
    Card("Tesla T4", 15360 * MIB, None, 8.1),
    Card("NVIDIA A10", 23028 * MIB, 125, 31.2),
    Card("NVIDIA L4", 23034 * MIB, 121, 30.3),
    Card("NVIDIA GeForce RTX 4090", 24564 * MIB, 165.2, 82.6),
    Card("NVIDIA GeForce RTX 3090", 24576 * MIB, 71, 35.6),
    Card("NVIDIA A100-SXM4-40GB", 40960 * MIB, 312, 19.5),
    Card("NVIDIA A40", 46068 * MIB, 149.7, 37.4),
    Card("NVIDIA L40S", 46068 * MIB, 362, 91.6),
    Card("NVIDIA RTX A6000", 49140 * MIB, 154.8, 38.7),
    Card("NVIDIA H100 PCIe", 81559 * MIB, 756, 51),
    Card("NVIDIA H100 80GB HBM3", 81559 * MIB, 989, 67),
    Card("NVIDIA A100 80GB PCIe", 81920 * MIB, 312, 19.5),
    Card("NVIDIA A100-SXM4-80GB", 81920 * MIB, 312, 19.5),
    Card("NVIDIA H100 NVL", 95830 * MIB, 835, 60),
    Card("NVIDIA H200", 143771 * MIB, 989, 67),
    Card("NVIDIA B200", 183359 * MIB, 2250, 75),
)


def find_card(name: str) -> Card | None:
    """Return the card of a name, or of how its name begins; of several, the one with the least memory and speed.

    «NVIDIA» may be left out, and upper and lower case are the same.
    """
    wanted = _plain(name)
    exact = [card for card in CARDS if _plain(card.name) == wanted]
    begun = exact or [card for card in CARDS if _plain(card.name).startswith(wanted)]
    return min(begun, key=lambda card: (card.memory_bytes, card.bf16_teraflops or 0), default=None)


def card_named(name: str) -> Card:
    """Return the card that a person names; see `find_card`.

    Raises:
        ConfigError: none is known by that name.
    """
    card = find_card(name) if name.strip() else None
    if card is None:
        known = ", ".join(card.name.removeprefix("NVIDIA ") for card in CARDS)
        raise ConfigError(f"the GPU {name!r} is not known here ({known}); say --gpu-memory, for example 24GB")
    return card


def bytes_of(size: str) -> int:
    """Return the number of bytes that «24GB» (10⁹) or «24GiB» (2³⁰) says.

    Raises:
        ConfigError: it says no size.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*", size)
    unit = _UNITS.get(found[2].upper()) if found else None
    if found is None or unit is None or float(found[1]) == 0:
        raise ConfigError(f"the memory {size!r} is no size; write it as 24GB or 24GiB")
    return int(float(found[1]) * unit)


def _plain(name: str) -> str:
    plain = " ".join(name.casefold().split())
    for word in ("nvidia ", "geforce ", "tesla "):
        plain = plain.removeprefix(word)
    return plain
