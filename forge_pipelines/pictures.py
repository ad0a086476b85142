"""The style in which Forge draws: deterministic SVG (for pages) and PNG (for Dagster). Each room draws its own.

The lengths of documents are drawn here, because sources and corpora both show them.
"""

import io
from collections.abc import Callable, Sequence
from math import ceil, floor, log10
from typing import Any, Literal

TRAINED, GRID = "#1f6f5c", "#e6e2d8"
LENGTHS_PICTURE = "lengths.png"
"""The published file that shows how long documents are."""

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
_SIZES = {"svg": (7, 3.6), "png": (4.8, 2.8)}
"""Inches. A PNG is as wide as the column that Dagster shows it in, which neither scales it nor breaks its line."""
_DOTS_PER_INCH = 88
_BARS = 40


def draw(paint: Callable[[Any], None], image_format: Literal["svg", "png"]) -> bytes:
    """Draw what ``paint`` puts on a pair of axes, in the house's style; the same call gives the same bytes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=_SIZES[image_format], layout="constrained")
        paint(figure.add_subplot())
        buffer = io.BytesIO()
        # SVG would carry the time of drawing.
        metadata = {"Date": None} if image_format == "svg" else None
        figure.savefig(buffer, format=image_format, dpi=_DOTS_PER_INCH, metadata=metadata)
    return buffer.getvalue()


def draw_lengths(lengths: Sequence[int], image_format: Literal["svg", "png"]) -> bytes:
    """Draw a histogram of documents' lengths, in characters, on a logarithmic scale."""
    low, high = floor(log10(max(min(lengths), 1))), ceil(log10(max(10, *lengths)))
    low = min(low, high - 1)

    def paint(axes: Any) -> None:
        axes.hist(lengths, bins=[10 ** (low + (high - low) * bar / _BARS) for bar in range(_BARS + 1)], color=TRAINED)
        axes.set_xscale("log")
        axes.set_xlabel("characters in a document")
        axes.set_ylabel("documents")
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y", color=GRID)

    return draw(paint, image_format)
