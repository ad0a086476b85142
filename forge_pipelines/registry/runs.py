"""MLflow runs: one for each training, however often it is interrupted, with its recipe and its curves."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from forge_pipelines.errors import PlatformError
from forge_pipelines.progress import OnProgress, Progress
from forge_pipelines.registry.tracking import Tracking

TRAINING_TAG = "forge.training"

_FLUSH_SECONDS = 5.0
_RETRY_SECONDS = 60.0
_BATCH_POINTS = 500
_BATCH_PARAMETERS = 100
_PARAMETER_CHARACTERS = 6000


class TrainingRun:
    """An MLflow run that curves are written to, in batches. Points that it already has are left alone."""

    def __init__(self, tracking: Tracking, experiment_id: str, run_id: str) -> None:
        self._tracking = tracking
        self._pending: list[Any] = []
        self._next_flush = 0.0
        self._steps = self._recorded_steps(run_id)
        self.run_id = run_id
        self.url = tracking.link(f"experiments/{experiment_id}/runs/{run_id}")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add a point to each curve. What MLflow cannot take now is kept and sent later, at the latest by `flush`."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        for name, value in metrics.items():
            steps = self._steps.setdefault(name, set())
            if step not in steps:
                steps.add(step)
                self._pending.append(Metric(name, float(value), now_ms, step))
        if time.monotonic() >= self._next_flush:
            try:
                self.flush()
                self._next_flush = time.monotonic() + _FLUSH_SECONDS
            except PlatformError:
                # A training of days does not end because a web service is away for a minute.
                self._next_flush = time.monotonic() + _RETRY_SECONDS

    def flush(self) -> None:
        """Send all points that are not sent yet.

        Raises:
            PlatformError: MLflow does not take them; they are kept.
        """
        while self._pending:
            self._tracking.ask("log_batch", self.run_id, metrics=self._pending[:_BATCH_POINTS])
            del self._pending[:_BATCH_POINTS]

    def _recorded_steps(self, run_id: str) -> dict[str, set[int]]:
        # Not the last of each alone: a process that is killed takes points with it, and its successor goes on behind.
        names = self._tracking.ask("get_run", run_id).data.metrics
        histories = {name: self._tracking.ask("get_metric_history", run_id, name) for name in names}
        return {name: {point.step for point in history} for name, history in histories.items()}


@contextmanager
def training_run(
    tracking: Tracking, model: str, key: str, parameters: Mapping[str, Any] | None = None
) -> Iterator[TrainingRun]:
    """Open the run of one training: the one that has its key, or a new one.

    The key is the training's request key, which a resumed training shares with the interrupted one; the parameters
    are the recipe, nested as in the YAML.

    Raises:
        PlatformError: MLflow cannot be reached, or at the end did not take all points.
    """
    experiment_id = tracking.experiment(model).experiment_id
    run = TrainingRun(tracking, experiment_id, _find_or_create(tracking, experiment_id, model, key))
    _log_parameters(tracking, run.run_id, parameters or {})
    tracking.ask("update_run", run.run_id, status="RUNNING")
    try:
        yield run
        run.flush()
    except BaseException as failure:
        status = "FAILED" if isinstance(failure, Exception) else "KILLED"
        with suppress(PlatformError):  # the failure itself is what must be told
            run.flush()
        with suppress(PlatformError):
            tracking.ask("set_terminated", run.run_id, status=status)
        raise
    tracking.ask("set_terminated", run.run_id, status="FINISHED")


@contextmanager
def curves(
    tracking: Tracking, model: str, key: str, parameters: Mapping[str, Any] | None = None
) -> Iterator[OnProgress]:
    """Give an ``on_progress`` that draws what a training reports; the run is opened at the first metric.

    See `training_run`. A training that has nothing to do, because its checkpoint is published, leaves MLflow alone.

    Raises:
        PlatformError: MLflow cannot be reached, or at the end did not take all points.
    """
    with ExitStack() as stack:
        runs: list[TrainingRun] = []

        def draw(progress: Progress) -> None:
            if not progress.metrics:
                return
            if not runs:
                runs.append(stack.enter_context(training_run(tracking, model, key, parameters)))
            runs[0].log(int(progress.done), progress.metrics)

        yield draw


def record_history(
    tracking: Tracking,
    model: str,
    key: str,
    history: Iterable[Mapping[str, float]],
    parameters: Mapping[str, Any] | None = None,
) -> str:
    """Write the curves of a finished training, as far as its run does not have them, and return the run's id.

    The history gives, for each ``step``, the metrics at that step, in order; for the rest see `training_run`.

    Raises:
        PlatformError: MLflow cannot be reached.
    """
    with training_run(tracking, model, key, parameters) as run:
        for row in history:
            run.log(int(row["step"]), {name: value for name, value in row.items() if name != "step"})
    return run.run_id


def dotted(parameters: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested parameters as pairs, ``("architecture.hidden_size", "64")``, in their order."""
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


def _log_parameters(tracking: Tracking, run_id: str, parameters: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    params = [Param(name, value[:_PARAMETER_CHARACTERS]) for name, value in dotted(parameters)]
    for first in range(0, len(params), _BATCH_PARAMETERS):
        tracking.ask("log_batch", run_id, params=params[first : first + _BATCH_PARAMETERS])


def _find_or_create(tracking: Tracking, experiment_id: str, model: str, key: str) -> str:
    found = tracking.ask("search_runs", [experiment_id], f"tags.`{TRAINING_TAG}` = '{key}'", order_by=["start_time"])
    if found:
        return str(found[0].info.run_id)
    run = tracking.ask("create_run", experiment_id, tags={TRAINING_TAG: key}, run_name=f"{model} {key[:8]}")
    return str(run.info.run_id)
