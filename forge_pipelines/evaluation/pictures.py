"""The report's own picture, as deterministic SVG (in the page) and PNG (for Dagster)."""

from collections.abc import Sequence
from typing import Any, Literal

from forge_pipelines.training.pictures import GRID, TRAINED, draw

_BEFORE, _YARDSTICK = "#b9b4a8", "#b4552d"


def draw_before_after(
    after: Sequence[float], before: Sequence[float], xz: float, image_format: Literal["svg", "png"]
) -> bytes:
    """Draw how bits a character are spread over the documents, after training and before, beside xz's figure."""

    def paint(axes: Any) -> None:
        low, high = min(*after, *before, xz), max(*after, *before, xz)
        width = max(high - low, 1e-3) / 48
        edges = [low + width * index for index in range(49)]
        axes.hist(before, bins=edges, color=_BEFORE, label="before training")
        axes.hist(after, bins=edges, color=TRAINED, alpha=0.9, label="after training")
        axes.axvline(xz, color=_YARDSTICK, linewidth=1.6, linestyle=(0, (4, 2)), label="xz, all documents")
        axes.set_xlabel("bits a character (fewer is better)")
        axes.set_ylabel("documents")
        axes.grid(axis="y", color=GRID)
        axes.legend(frameon=False)

    return draw(paint, image_format)
