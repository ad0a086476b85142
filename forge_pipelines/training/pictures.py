"""The loss curve, and the style in which Forge draws: deterministic SVG (for pages) and PNG (for Dagster)."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

TRAINED, GRID = "#1f6f5c", "#e6e2d8"
_INK = "#3a3832"
_STYLE = {
    "svg.hashsalt": "forge",
    "font.size": 10,
    "axes.edgecolor": GRID,
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
        axes.grid(axis="y", color=GRID)

    return draw(paint, image_format)


def draw(paint: Any, image_format: Literal["svg", "png"]) -> bytes:
    """Draw what ``paint`` puts on a pair of axes, in the house's style; the same call gives the same bytes."""
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
