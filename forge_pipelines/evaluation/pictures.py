"""The report's own picture, as deterministic SVG (in the page) and PNG (for Dagster)."""

from collections.abc import Sequence
from typing import Any, Literal

from forge_pipelines.evaluation.scores import DocumentScore
from forge_pipelines.evaluation.verdict import signed
from forge_pipelines.pictures import GRID, TRAINED, draw

_BEFORE, _GENERAL, _YARDSTICK = "#b9b4a8", "#c98a2b", "#b4552d"


def draw_paired(documents: Sequence[DocumentScore], base: str, image_format: Literal["svg", "png"]) -> bytes:
    """Draw by how much each document's bits changed against the base: below the line, adapting helped."""
    groups = {
        "general text": (_GENERAL, [document for document in documents if document.text.general]),
        "documents like its own": (TRAINED, [document for document in documents if not document.text.general]),
    }

    def paint(axes: Any) -> None:
        for what, (color, group) in groups.items():
            if group:
                overall = 100 * (sum(each.bits for each in group) / sum(each.bits_base for each in group) - 1)
                points = [each.before for each in group], [100 * each.change for each in group]
                label = f"{what}: {signed(overall, 1)} %, {_count_better(group)}"
                axes.scatter(*points, s=28, color=color, alpha=0.75, linewidth=0, label=label)
                axes.axhline(overall, color=color, linewidth=1.2, linestyle=(0, (4, 2)))
        _shade_better(axes)
        axes.set_xlabel(f"bits a character of {base}")
        axes.set_ylabel("change by adapting, %")
        axes.grid(axis="y", color=GRID, linewidth=0.6)
        axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), reverse=True, borderpad=0.1)

    return draw(paint, image_format)


def _shade_better(axes: Any) -> None:
    low, high = axes.get_ylim()
    low, high = min(low, -1.0) - 0.08 * (high - low), max(high, 1.0)
    axes.set_ylim(low, high)
    axes.axhspan(low, 0, color=TRAINED, alpha=0.06, linewidth=0)
    axes.axhline(0, color=_BEFORE, linewidth=1.4)
    corner = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "bottom", "color": TRAINED}
    axes.text(0.99, low + 0.02 * (high - low), "better than the base", **corner)


def _count_better(group: Sequence[DocumentScore]) -> str:
    return f"{sum(document.change < 0 for document in group)} of {len(group)} better"


def draw_spread(documents: Sequence[DocumentScore], xz: float, image_format: Literal["svg", "png"]) -> bytes:
    """Draw how bits a character are spread over the documents, after training and before, beside xz's figure."""
    own = [document for document in documents if not document.text.general]
    after, before = [each.after for each in own], [each.before for each in own]

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
