"""What the run's log and the terminal show of a stage that runs: how far it is, how fast, and the time that is left."""

import io
import re
import time

import dagster as dg
import pytest
from rich.console import Console

from forge_assets import progress as shown
from forge_assets.cli import screen
from forge_assets.progress import LISTENER, Paces, in_words, observe, time_left, watch
from forge_pipelines.progress import OnProgress, Progress

RATES = {"files/s": 85.0, "MB/s": 3.1}
READING = Progress("handbook: reading", 1200, 5000, "files", RATES)
UNBOUNDED = Progress("bucket: reading", 1200, None, "files", RATES)


def test_a_report_is_one_line_with_rates_and_the_time_left() -> None:
    assert in_words(READING) == "handbook: reading 1,200 of 5,000 files, files/s 85, MB/s 3.1, 45 s left"
    assert in_words(UNBOUNDED) == "bucket: reading 1,200 files, files/s 85, MB/s 3.1"
    assert in_words(Progress("x: hashing")) == "x: hashing"


@pytest.mark.parametrize(
    ("done", "words"),
    [(100, ""), (99, "1 s left"), (40, "1 min 0 s left"), (-100, "3 min 20 s left"), (-7400, "2 h 5 min left")],
)
def test_the_time_left_is_said_as_people_say_it(done: float, words: str) -> None:
    assert time_left(Progress("reading", done, 100, "files", {"files/s": 1.0})) == words


def test_a_stage_without_a_rate_of_its_own_is_measured() -> None:
    paces = Paces()
    first = paces.rated(Progress("training", 64, 1_000_000, "steps", {"loss": 2.5}))
    assert first.metrics == {"loss": 2.5}
    time.sleep(0.05)
    later = paces.rated(Progress("training", 74, 1_000_000, "steps", {"loss": 2.4}))
    assert later.metrics["loss"] == 2.4
    assert 20 < later.metrics["steps/s"] <= 200
    assert paces.rated(READING) is READING
    message = Progress("training", message="a rank has started")
    assert paces.rated(message) is message


def report_from_an_asset(*reports: Progress) -> list[str]:
    """Report from an asset that runs, and return what its log says."""

    @dg.asset
    def reading(context: dg.AssetExecutionContext) -> None:
        on_progress: OnProgress = watch(context)
        for report in reports:
            on_progress(report)

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([reading], instance=instance)
        return [entry.user_message for entry in instance.all_logs(result.run_id) if entry.dagster_event is None]


def test_the_runs_log_has_the_rates_and_the_time_left_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "handbook: reading 1,200 of 5,000 files, files/s 85, MB/s 3.1, 45 s left"
    assert report_from_an_asset(READING, READING) == [line]
    monkeypatch.setattr(shown, "_SECONDS_BETWEEN_LOGS", 0.0)
    assert report_from_an_asset(READING, UNBOUNDED) == [line, "bucket: reading 1,200 files, files/s 85, MB/s 3.1"]


def test_a_trainings_numbers_are_observed_on_its_asset_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [
        Progress("tiny: training", step, 9, "steps", {"loss": 1.0 / step, "remaining_seconds": 9 - step})
        for step in (1, 2, 3)
    ]

    @dg.asset
    def training(context: dg.AssetExecutionContext) -> None:
        note = observe(context)
        note(steps[0])  # too soon
        monkeypatch.setattr(shown, "_SECONDS_BETWEEN_OBSERVATIONS", 0.0)
        note(Progress("tiny: training", message="a rank has started"))
        note(steps[1])
        monkeypatch.setattr(shown, "_SECONDS_BETWEEN_OBSERVATIONS", 60.0)
        note(steps[2])  # too soon after the one before

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([training], instance=instance)
        found = instance.fetch_observations(dg.AssetKey("training"), limit=9).records
    [metadata] = [record.asset_observation.metadata for record in found if record.asset_observation]
    numbers = {name: value.value for name, value in metadata.items()}
    assert numbers == {"steps": 2, "loss": 0.5, "remaining seconds": 7.0}


def test_what_a_stage_says_of_the_time_left_is_shown_once() -> None:
    training = Progress("tiny: training", 3, 9, "steps", {"loss": 2.0, "remaining_seconds": 75.0})
    assert in_words(training) == "tiny: training 3 of 9 steps, loss 2, 1 min 15 s left"


def drawn(*reports: Progress, terminal: bool) -> str:
    """Return what a console shows of reports, without its colours."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=140, legacy_windows=False)
    with screen.live_progress(console):
        for report in reports:
            LISTENER.get()(report)
        time.sleep(0.3 if terminal else 0)  # it is drawn ten times a second
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())


def test_the_terminal_shows_rates_and_the_time_left_beside_the_bar() -> None:
    assert re.search(
        r"handbook: reading .*━.* 1,200/5,000 85\.0 files/s 45 s left MB/s 3\.1", drawn(READING, terminal=True)
    )


def test_the_terminal_shows_rates_alone_where_nobody_knows_how_much_there_is() -> None:
    shown = drawn(UNBOUNDED, terminal=True)
    assert re.search(r"bucket: reading .*━ 1,200 85\.0 files/s +MB/s 3\.1", shown)
    assert "left" not in shown


def test_where_it_is_no_terminal_each_tenth_is_a_line_and_without_a_total_one_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = [Progress("x: reading", number, 100, "files") for number in range(101)]
    assert len(drawn(*done, terminal=False).splitlines()) == 11
    assert drawn(UNBOUNDED, UNBOUNDED, terminal=False).splitlines() == [in_words(UNBOUNDED)]
    monkeypatch.setattr(screen, "_SECONDS_BETWEEN_LINES", 0.0)
    assert drawn(UNBOUNDED, UNBOUNDED, terminal=False).splitlines() == [in_words(UNBOUNDED)] * 2
