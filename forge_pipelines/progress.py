"""How a stage tells what it is doing. The Dagster face and the command line decide where it is shown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """One report of a running stage.

    Attributes:
        stage: what is running, in words a person reads (``"handbook: reading"``).
        done: units finished so far.
        total: units in all, or None while that is not known.
        unit: what is counted (``"files"``, ``"steps"``).
        metrics: numbers worth a curve, by name (``"loss"``), at position ``done``.
        message: one sentence worth keeping in a log, or empty.
    """

    stage: str
    done: float = 0
    total: float | None = None
    unit: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    message: str = ""


OnProgress = Callable[[Progress], None]


def silent(_progress: Progress) -> None:
    """Ignore a report: the default where nobody watches."""
