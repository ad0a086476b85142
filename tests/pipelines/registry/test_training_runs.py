"""Training runs in MLflow: one a training, with one curve, however often it is interrupted."""

from pathlib import Path

import pytest

from forge_pipelines.errors import ConfigError
from forge_pipelines.progress import Progress
from forge_pipelines.registry.runs import curves, record_history, training_run
from forge_pipelines.registry.tracking import Tracking

RECIPE = {"steps": 10, "architecture": {"model_type": "llama"}}


def curve(tracking: Tracking, run_id: str) -> list[tuple[int, float]]:
    return sorted((point.step, point.value) for point in tracking.ask("get_metric_history", run_id, "loss"))


def test_a_resumed_training_continues_its_run_and_its_curve(tracking: Tracking, request: pytest.FixtureRequest) -> None:
    model = f"curves_{request.node.callspec.id}"
    with pytest.raises(RuntimeError), training_run(tracking, model, "k1", RECIPE) as run:
        for step in range(4):
            run.log(step, {"loss": 9.0 - step})
        raise RuntimeError("killed")
    assert tracking.ask("get_run", run.run_id).info.status == "FAILED"
    with training_run(tracking, model, "k1", RECIPE) as again:
        for step in range(2, 6):
            again.log(step, {"loss": 9.0 - step})
    found = tracking.ask("get_run", run.run_id)
    assert again.run_id == run.run_id
    assert curve(tracking, run.run_id) == [(step, 9.0 - step) for step in range(6)]
    assert found.data.params == {"steps": "10", "architecture.model_type": "llama"}
    assert found.info.status == "FINISHED"


def test_a_training_that_fails_is_ended_in_mlflow_even_where_it_does_not_take_the_last_points(
    tracking: Tracking, request: pytest.FixtureRequest
) -> None:
    model = f"refused_points_{request.node.callspec.id}"
    with pytest.raises(RuntimeError), training_run(tracking, model, "k1") as run:
        run.log(1, {"no name for MLflow!": 1.0})
        raise RuntimeError("killed")
    found = tracking.ask("get_run", run.run_id)
    assert (found.info.status, found.data.metrics) == ("FAILED", {})


def test_progress_is_drawn_and_a_training_with_nothing_to_do_leaves_mlflow_alone(database: Tracking) -> None:
    with curves(database, "idle", "k1", RECIPE) as draw:
        draw(Progress("idle: training", message="published already"))
    assert database.ask("get_experiment_by_name", "idle") is None
    with curves(database, "busy", "k1", RECIPE) as draw:
        draw(Progress("busy: training", 1, 2, "steps", {"loss": 2.0}))
        draw(Progress("busy: training", 2, 2, "steps", {"loss": 1.0}))
    assert curve(database, record_history(database, "busy", "k1", ())) == [(1, 2.0), (2, 1.0)]


def test_a_history_recorded_twice_is_one_curve(database: Tracking) -> None:
    history = [{"step": step, "loss": 1.0 / (step + 1)} for step in range(1200)]
    first = record_history(database, "history", "k1", history)
    assert record_history(database, "history", "k1", history) == first
    assert record_history(database, "history", "k2", history[:1]) != first
    assert len(curve(database, first)) == 1200


def test_two_models_do_not_share_an_experiment_and_both_ways_see_the_same(database: Tracking, server: Tracking) -> None:
    assert database.experiment("one") == server.experiment("one")
    assert database.experiment("one").identity != database.experiment("two").identity


def test_a_database_without_a_folder_for_artifacts_is_refused(database_url: str) -> None:
    with pytest.raises(ConfigError, match="is a database; name the folder"):
        Tracking(database_url).experiment("one")


@pytest.mark.parametrize("uri", ["", "sqlite:///x.db", "not an address"])
def test_an_address_that_is_none_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no address of MLflow"):
        Tracking(uri, str(tmp_path)).experiment("one")
