"""The report's two pictures, as deterministic SVG (in the page) and PNG (for Dagster)."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

TRAINED, BEFORE, YARDSTICK = "#1f6f5c", "#b9b4a8", "#b4552d"
_INK, _GRID = "#3a3832", "#e6e2d8"
_STYLE = {
    "svg.hashsalt": "forge",
    "font.size": 10,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def draw_loss(history: Sequence[Mapping[str, float]], image_format: Literal["svg", "png"]) -> bytes:
    """Draw the training loss over the steps; ``history`` is the checkpoint's ``history.json``."""
    steps = [entry["step"] for entry in history]
    losses = [entry["loss"] for entry in history]

    def paint(axes: Any) -> None:
        axes.plot(steps, losses, color=TRAINED, linewidth=1.8)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("training loss (nats a token)")
        axes.grid(axis="y", color=_GRID)

    return _draw(paint, image_format)


def draw_before_after(
    after: Sequence[float], before: Sequence[float], xz: float, image_format: Literal["svg", "png"]
) -> bytes:
    """Draw how bits a character are spread over the documents, after training and before, beside xz's figure."""

    def paint(axes: Any) -> None:
        low, high = min(*after, *before, xz), max(*after, *before, xz)
        width = max(high - low, 1e-3) / 48
        edges = [low + width * index for index in range(49)]
        axes.hist(before, bins=edges, color=BEFORE, label="before training")
        axes.hist(after, bins=edges, color=TRAINED, alpha=0.9, label="after training")
        axes.axvline(xz, color=YARDSTICK, linewidth=1.6, linestyle=(0, (4, 2)), label="xz, all documents")
        axes.set_xlabel("bits a character (fewer is better)")
        axes.set_ylabel("documents")
        axes.grid(axis="y", color=_GRID)
        axes.legend(frameon=False)

    return _draw(paint, image_format)


def _draw(paint: Any, image_format: Literal["svg", "png"]) -> bytes:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7, 3.6), layout="constrained")
        paint(figure.add_subplot())
        buffer = io.BytesIO()
        # SVG would carry the time of drawing.
        metadata = {"Date": None} if image_format == "svg" else None
        figure.savefig(buffer, format=image_format, dpi=160, metadata=metadata)
    return buffer.getvalue()
