"""The stage `registered_model`: a report that passes its gates in, a model version in MLflow out."""

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forge_pipelines.errors import DataError, GateRefusal
from forge_pipelines.evaluation.reading import read_report
from forge_pipelines.evaluation.report import Report
from forge_pipelines.manifest import Manifest, StageRequest, Value, code_version
from forge_pipelines.progress import OnProgress, Progress, silent
from forge_pipelines.registry.card import write_card
from forge_pipelines.registry.config import RegistrationConfig
from forge_pipelines.registry.gates import Verdict, judge, parse_gate
from forge_pipelines.registry.runs import record_history
from forge_pipelines.registry.tracking import Tracking
from forge_pipelines.registry.upstream import Upstream, trace_upstream
from forge_pipelines.registry.versions import (
    CARD,
    TAGS,
    Draft,
    find_version,
    log_metrics,
    point_alias,
    set_version,
    upload,
    write_model_folder,
)
from forge_pipelines.store import Made, Publication, Store
from forge_pipelines.training.kept import model_alone
from forge_pipelines.training.stage import HISTORY

CODE_VERSION = "1"
MODEL_VERSION = "model_version.json"
VERDICTS = "verdicts.json"


class ModelVersion(Value):
    """What `model_version.json` says of a registered version."""

    name: str
    version: int
    run_id: str
    source: str
    alias: str
    uri: str


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A checkpoint that passed its gates, with all that is to be said of it."""

    upstream: Upstream
    report: Report
    verdicts: tuple[Verdict, ...]
    weights: str
    alias: str

    @property
    def name(self) -> str:
        return self.upstream.report.name

    @property
    def card(self) -> str:
        return write_card(self.upstream, self.report, self.verdicts, alias=self.alias, weights=self.weights)

    def tags(self) -> Mapping[str, str]:
        gates = {f"{TAGS}gate.{number}": verdict.sentence for number, verdict in enumerate(self.verdicts, 1)}
        return {
            **{f"{TAGS}{role}": fingerprint for role, fingerprint in self.upstream.fingerprints().items()},
            f"{TAGS}classification": self.upstream.classification.value,
            f"{TAGS}weights": self.weights,
            **gates,
        }

    def metrics(self) -> Iterator[tuple[str, float]]:
        for name, metric in self.report.metrics.items():
            yield name, metric.value
            yield f"{name}.base", metric.base
            yield from ((f"{name}.{other}", value) for other, value in metric.references.items())


def register(
    name: str,
    report: Manifest,
    config: RegistrationConfig,
    store: Store,
    tracking: Tracking,
    on_progress: OnProgress = silent,
) -> Publication:
    """Hold a report to its gates, and register the checkpoint that it measured as a version in MLflow.

    One report is one version, however often and with whatever gates it is asked for. The request holds the identity of
    the model's experiment: a fresh MLflow beside an old store is registered in anew, and the same MLflow at another
    address is known again.

    Raises:
        GateRefusal: a gate does not hold; nothing was written anywhere.
        DataError: the report, the checkpoint or something upstream is damaged or missing; or the version was deleted.
        PlatformError: MLflow cannot be reached.
    """
    measured = read_report(store.open(report))
    verdicts = judge(map(parse_gate, config.gates), measured)
    _refuse_unless_passed(name, verdicts)
    upstream = trace_upstream(store, report)
    weights = store.address_of(upstream.checkpoint)
    candidate = _Candidate(upstream, measured, verdicts, weights, config.alias)
    request = StageRequest(
        kind="registered_model",
        name=name,
        inputs={"report": report.fingerprint, "mlflow": tracking.experiment(name).identity},
        parameters={**config.model_dump(mode="json"), "weights": weights},
        code_version=code_version(CODE_VERSION, "mlflow"),
    )

    def make(folder: Path) -> Made:
        checkpoint = store.open(model_alone(upstream.checkpoint)).absolute()
        with _alone(store.workspace(request)) as workspace:
            version = _write_to_mlflow(candidate, tracking, checkpoint, workspace)
        on_progress(Progress(f"{version.name}: registering", message=f"{version.uri} stands in {tracking.address}"))
        _write_files(folder, candidate, version)
        counts = {"version": version.version, "metrics": len(measured.metrics), "gates_passed": len(verdicts)}
        return Made(counts=counts, classification=upstream.classification)

    on_progress(Progress(f"{name}: registering", message=_summary(verdicts)))
    publication = store.obtain(request, make)
    if not publication.fresh:
        _name_again(publication.manifest, config.alias, store, tracking)
    return publication


def _refuse_unless_passed(name: str, verdicts: Sequence[Verdict]) -> None:
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if failed:
        reasons = "; ".join(f"gate «{verdict.gate}»: {verdict.sentence}" for verdict in failed)
        raise GateRefusal(f"{name} is not registered: {reasons}")


def _summary(verdicts: Sequence[Verdict]) -> str:
    return "; ".join(verdict.sentence for verdict in verdicts) or "no gates were set"


@contextmanager
def _alone(workspace: Path) -> Iterator[Path]:
    """Give the workspace empty, to one registration of the model at a time: MLflow keeps no version unique."""
    with (workspace.parent / "registration.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(workspace, ignore_errors=True)
        workspace.mkdir(exist_ok=True)  # whoever waits for the lock may have made it just now
        try:
            yield workspace
        finally:
            shutil.rmtree(workspace)


def _write_to_mlflow(candidate: _Candidate, tracking: Tracking, checkpoint: Path, workspace: Path) -> ModelVersion:
    name, fingerprint = candidate.name, candidate.upstream.report.fingerprint
    trained = candidate.upstream.checkpoint
    history = json.loads((checkpoint / HISTORY).read_text())
    run_id = record_history(tracking, name, trained.key, history, trained.parameters)
    log_metrics(tracking, run_id, dict(candidate.metrics()))
    write_model_folder(workspace, checkpoint, candidate.card, metadata=candidate.upstream.fingerprints())
    source = upload(tracking, run_id, workspace, f"registered/{fingerprint[:12]}")
    number = set_version(tracking, Draft(name, run_id, source, candidate.tags(), candidate.card))
    point_alias(tracking, name, candidate.alias, number)
    uri = f"models:/{name}/{number}"
    return ModelVersion(name=name, version=number, run_id=run_id, source=source, alias=candidate.alias, uri=uri)


def _write_files(folder: Path, candidate: _Candidate, version: ModelVersion) -> None:
    (folder / MODEL_VERSION).write_text(_to_json(version.model_dump()))
    (folder / CARD).write_text(candidate.card)
    (folder / VERDICTS).write_text(_to_json([verdict.model_dump() for verdict in candidate.verdicts]))


def _name_again(published: Manifest, alias: str, store: Store, tracking: Tracking) -> None:
    number = find_version(tracking, published.name, published.inputs["report"])
    if number is None:
        message = (
            f"{published.name} version {published.counts['version']} has been deleted in MLflow at {tracking.address}; "
            f"to register it again, remove {store.address_of(published)}"
        )
        raise DataError(message)
    # As the store's pointer to the latest does, the alias follows what was asked for last.
    point_alias(tracking, published.name, alias, number)


def _to_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
