"""What a stage's reports tell of its pace, and of the time that is left."""

import pytest

from forge_pipelines.progress import Pace, Progress


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_the_time_left_follows_from_the_stages_own_rate() -> None:
    rates = {"MB/s": 3.1, "files/s": 85.0}
    assert Progress("reading", 1200, 5000, "files", rates).seconds_left == pytest.approx(44.7, abs=0.01)
    assert Progress("reading", 5000, 5000, "files", rates).seconds_left == 0
    assert Progress("reading", 5100, 5000, "files", rates).seconds_left == 0


def test_where_total_or_rate_is_not_known_no_time_is_told() -> None:
    assert Progress("reading", 1200, None, "files", {"files/s": 85.0}).seconds_left is None
    assert Progress("reading", 1200, 5000, "files", {"MB/s": 3.1}).seconds_left is None
    assert Progress("reading", 1200, 5000, "files", {"files/s": 0.0}).seconds_left is None


def test_a_pace_is_that_of_the_last_half_minute() -> None:
    clock = Clock()
    pace = Pace(0, 0, clock=clock)
    for _ in range(10):  # what was known already passes fast
        clock.seconds += 1
        rates = pace.per_second((clock.seconds - 100) * 1000, 0)
    assert rates == [1000, 0]
    for second in range(1, 61):
        clock.seconds += 1
        rates = pace.per_second(10_000 + second * 4, second * 0.5)
    assert rates == [4, 0.5]


def test_a_pace_holds_few_samples_however_often_it_is_told() -> None:
    clock = Clock()
    pace = Pace(0, clock=clock)
    for number in range(100_000):
        clock.seconds += 0.001
        rates = pace.per_second(number)
    assert rates == [pytest.approx(1000, rel=0.01)]
    assert len(pace._samples) < 40
