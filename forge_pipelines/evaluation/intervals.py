"""How sure a figure is: paired bootstrap over documents."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class RatioComparison:
    """A ratio of totals for the checkpoint and for its base, each interval covering with 95 % confidence."""

    value: float
    interval: tuple[float, float]
    base: float
    difference: float
    difference_interval: tuple[float, float]


def compare_ratios(
    checkpoint: Sequence[float], base: Sequence[float], sizes: Sequence[int], num_resamples: int, seed: int
) -> RatioComparison:
    """Compare ``sum(checkpoint) / sum(sizes)`` with ``sum(base) / sum(sizes)``, with intervals.

    As many documents as there are, N, are drawn with replacement, R times. The r-th draw of documents D gives the ratio
    ``sum(checkpoint[D]) / sum(sizes[D])`` and, from the same documents, the difference
    ``sum(checkpoint[D] - base[D]) / sum(sizes[D])``; each interval reaches from the 2.5th to the 97.5th percentile of
    the R values (Efron & Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 13). Documents are drawn, never
    characters, since those of one document hang together.

    Args:
        checkpoint: total of each document, for example its bits; shape (N,).
        base: the same of the base, document by document; shape (N,).
        sizes: size of each document, for example its characters; shape (N,).
        num_resamples: draws behind each interval.
        seed: the same seed gives the same intervals.

    Raises:
        ValueError: fewer than two documents: one says nothing about the spread.
    """
    if len(sizes) < 2:
        raise ValueError("an interval needs at least two documents")
    totals_N3 = np.array([checkpoint, base, sizes], dtype=np.float64).T  # noqa: N806 - the shape
    drawn_R3 = _resampled_totals(totals_N3, num_resamples, seed)  # noqa: N806
    value, base_value = totals_N3[:, :2].sum(axis=0) / totals_N3[:, 2].sum()
    return RatioComparison(
        value=float(value),
        interval=_percentiles(drawn_R3[:, 0] / drawn_R3[:, 2]),
        base=float(base_value),
        difference=float(value - base_value),
        difference_interval=_percentiles((drawn_R3[:, 0] - drawn_R3[:, 1]) / drawn_R3[:, 2]),
    )


def _resampled_totals(totals: NDArray[np.float64], num_resamples: int, seed: int) -> NDArray[np.float64]:
    generator = np.random.default_rng(seed)
    count = len(totals)
    # How often each document is drawn is multinomial; drawing the counts is drawing the documents.
    draws = (generator.multinomial(count, np.full(count, 1 / count)) for _ in range(num_resamples))
    return np.array([draw @ totals for draw in draws])


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
