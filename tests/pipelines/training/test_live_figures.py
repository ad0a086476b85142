"""What a training shows while it runs: on curves that a relaunch continues, and in what its manifest says it used."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from forge_pipelines.gpu.energy import EnergyMeter
from forge_pipelines.ledger.postgres import postgres
from forge_pipelines.manifest import Manifest
from forge_pipelines.progress import OnProgress, Progress
from forge_pipelines.registry.runs import curves, record_history
from forge_pipelines.registry.tracking import Tracking
from forge_pipelines.store import Store
from forge_pipelines.training.cards import card_named
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.job import HISTORY
from forge_pipelines.training.ranks import TrainingEnvironment
from forge_pipelines.training.stage import train, training_request
from forge_pipelines.training.usage import Usage, read_usage
from forge_pipelines.training.worker.figures import model_flops_per_token

Recipe = Callable[..., TrainingConfig]


FIGURES = {"loss", "grad_norm", "learning_rate", "tokens_per_second", "remaining_seconds"}
"""Those that there are without a GPU."""


@pytest.fixture
def tracking(tmp_path: Path) -> Iterator[Tracking]:
    """MLflow in a database of its own."""
    (tmp_path / "home").mkdir()
    with postgres(tmp_path / "home", None) as databases:
        yield Tracking(databases.mlflow, str(tmp_path / "artifacts"))


def both(first: OnProgress, second: OnProgress) -> OnProgress:
    """Tell two listeners, one after the other."""

    def tell(progress: Progress) -> None:
        first(progress)
        second(progress)

    return tell


class Interrupted(Exception):
    """The person who watches has had enough."""


def test_every_step_tells_its_figures_on_the_curves_of_one_run_and_the_manifest_what_all_launches_used(
    store: Store, shards: Manifest, recipe: Recipe, environment: TrainingEnvironment, tracking: Tracking
) -> None:
    config = recipe(steps=60, checkpoint_every_steps=4, gpus={"count": 1})
    key = training_request("tiny", shards, config).key
    said: list[Progress] = []
    record_history(tracking, "tiny", key, ())  # the first words with MLflow take longer than all steps

    def interrupt(progress: Progress) -> None:
        said.append(progress)
        if progress.done == 5:
            raise Interrupted

    with pytest.raises(Interrupted), curves(tracking, "tiny", key) as draw:
        train("tiny", shards, config, store, environment, both(draw, interrupt))
    [used] = (read_usage(path.parent) for path in store.work.rglob("used.json"))
    with curves(tracking, "tiny", key) as draw:
        made = train("tiny", shards, config, store, environment, both(draw, said.append)).manifest
    told = [each for each in said if each.metrics]
    resumed = made.measured["resumed_from_step"]
    assert [each.done for each in told] == [*range(1, 6), *range(resumed + 1, 61)]
    assert all(set(each.metrics) == FIGURES for each in told)
    assert all(each.seconds_left == each.metrics["remaining_seconds"] for each in told)
    assert told[0].seconds_left and told[-1].seconds_left == 0
    drawn = sorted({*range(1, 6), *range(resumed + 1, 61)})
    assert all([step for step, _ in points_of(tracking, name)] == drawn for name in FIGURES)
    # What was done and not told of when training was interrupted, registration adds from the history.
    history = json.loads((store.open(made) / HISTORY).read_text())
    record_history(tracking, "tiny", key, history)
    assert points_of(tracking, "loss") == [(row["step"], row["loss"]) for row in history]
    assert made.measured["cpu_seconds"] > used.cpu_seconds + 1 > 2
    assert (made.measured["gpu_seconds"], made.measured["energy_joules"]) == (0, "not measured")
    assert not made.measured.keys() & {"mfu", "gpu_memory_bytes"}


def points_of(tracking: Tracking, name: str) -> list[tuple[int, float]]:
    """The points of a curve of the one run that there is."""
    [run] = tracking.ask("search_runs", [tracking.experiment("tiny").experiment_id])
    return sorted((point.step, point.value) for point in tracking.ask("get_metric_history", run.info.run_id, name))


def test_usage_adds_up_and_energy_that_nobody_counted_is_none() -> None:
    counted = Usage(gpu_seconds=2, cpu_seconds=3, energy_joules=500.4)
    both = Usage(gpu_seconds=1, cpu_seconds=1).and_then(counted)
    assert both == Usage(gpu_seconds=3, cpu_seconds=4, energy_joules=500.4)
    assert both.in_words == {"gpu_seconds": 3, "cpu_seconds": 4, "energy_joules": 500}
    assert Usage().and_then(Usage()).in_words["energy_joules"] == "not measured"


@pytest.mark.parametrize("content", [b"", bytes(256), b'{"gpu_seconds": 1'])
def test_a_note_of_what_was_used_that_was_torn_counts_as_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "used.json").write_bytes(content)
    assert read_usage(tmp_path) == read_usage(tmp_path / "missing") == Usage()


def test_energy_is_not_measured_where_there_is_no_gpu() -> None:
    assert EnergyMeter([]).joules() is None
    assert EnergyMeter(["GPU-0"]).joules(seconds_old=0) is None


def test_a_models_flops_are_the_published_formulas_and_frozen_weights_cost_less(recipe: Recipe) -> None:
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model(**recipe().architecture, vocab_size=300))
    table = network.get_input_embeddings().weight.numel()
    multiplied = network.num_parameters() - table
    attention = 12 * 2 * 32 * 64
    assert model_flops_per_token(network, 64) == 6 * multiplied + attention
    network.requires_grad_(False)
    assert model_flops_per_token(network, 64) == 4 * multiplied + attention
    peak = card_named("H200").flops("bf16")
    assert peak == 989e12
