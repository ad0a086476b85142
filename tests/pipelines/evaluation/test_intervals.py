"""Intervals: what they cover, and that they are a function of their input."""

import numpy as np
import pytest

from forge_pipelines.evaluation.intervals import compare_ratios


def test_the_value_is_total_bits_over_total_characters_and_not_the_mean_of_ratios() -> None:
    compared = compare_ratios([10.0, 300.0], [20.0, 600.0], [10, 100], num_resamples=50, seed=0)
    assert compared.value == pytest.approx(310 / 110)
    assert compared.base == pytest.approx(620 / 110)
    assert compared.difference == pytest.approx(-310 / 110)


def test_ninety_five_percent_intervals_cover_the_truth_about_that_often() -> None:
    generator = np.random.default_rng(1)
    covered = {"value": 0, "difference": 0}
    for _ in range(200):
        sizes = generator.lognormal(6, 0.7, 60)
        after = sizes * generator.normal(2.0, 0.3, 60)
        before = after + sizes * generator.normal(3.0, 0.2, 60)
        compared = compare_ratios(list(after), list(before), list(sizes), num_resamples=300, seed=0)
        covered["value"] += compared.interval[0] <= 2.0 <= compared.interval[1]
        covered["difference"] += compared.difference_interval[0] <= -3.0 <= compared.difference_interval[1]
    assert 176 <= covered["value"] <= 199, covered
    assert 176 <= covered["difference"] <= 199, covered


def test_the_difference_is_paired_so_that_it_is_surer_than_the_two_values() -> None:
    generator = np.random.default_rng(2)
    sizes = [100] * 50
    after = generator.normal(200, 60, 50)
    compared = compare_ratios(list(after), list(after + 10), sizes, num_resamples=500, seed=0)
    low, high = compared.interval
    assert high - low > 0.2
    assert compared.difference_interval == pytest.approx((-0.1, -0.1))


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others() -> None:
    first, again, other = (compare_ratios([1, 2, 9], [3, 3, 9], [2, 3, 4], num_resamples=40, seed=s) for s in (5, 5, 6))
    assert first == again
    assert first.interval != other.interval


def test_one_document_gives_no_interval() -> None:
    with pytest.raises(ValueError, match="at least two"):
        compare_ratios([1.0], [2.0], [3], num_resamples=10, seed=0)
