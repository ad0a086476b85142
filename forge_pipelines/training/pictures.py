"""The loss curve."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from forge_pipelines.pictures import GRID, TRAINED, draw


def draw_loss(history: Sequence[Mapping[str, float]], image_format: Literal["svg", "png"]) -> bytes:
    """Draw the training loss over the steps; ``history`` is the checkpoint's ``history.json``."""
    steps = [entry["step"] for entry in history]
    losses = [entry["loss"] for entry in history]

    def paint(axes: Any) -> None:
        axes.plot(steps, losses, color=TRAINED, linewidth=1.8)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("training loss (nats)")
        axes.grid(axis="y", color=GRID)

    return draw(paint, image_format)
