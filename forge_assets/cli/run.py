"""`forge run`: a model's chain, here or by the `forge up` that runs."""

import importlib
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
from rich.console import Console, RenderableType

from forge_assets.automation.runs import MODEL_TAG, TRIGGER_TAG
from forge_assets.cli.screen import MadeRow, closing_table, closing_words, live_progress, made_in_words, wide_console
from forge_assets.cli.up import running_address
from forge_assets.executor.workers import HOST_TAG, here, working
from forge_assets.faults import sentence_of
from forge_assets.instance import dagster_instance, end_lost_runs
from forge_assets.progress import LISTENER
from forge_assets.resources import forge_resources
from forge_assets.settings import Settings
from forge_pipelines.errors import ConfigError
from forge_pipelines.evaluation.reading import read_report
from forge_pipelines.evaluation.stage import PAGE
from forge_pipelines.manifest import STAGES
from forge_pipelines.progress import Progress
from forge_pipelines.store import Store

_GLOBAL_JOB = "__ASSET_JOB"
_SECONDS_BETWEEN_LOOKS = 0.5


def run_chain(name: str, settings: Settings) -> int:
    """Make everything of a name and all that it is made from, show progress, and print the closing table.

    Returns:
        0 when all was made, else 1.

    Raises:
        ConfigError: nothing has this name, or the definitions do not load.
    """
    console = wide_console()
    definitions = load_definitions(settings.definitions)
    selection = _select(name, definitions)
    address = running_address(settings.home)
    with dagster_instance(settings) as instance, live_progress(console):
        if address is None:
            end_lost_runs(instance, settings)
        run_id = (
            _execute(name, definitions, selection, instance, settings.home)
            if address is None
            else _submit(name, _job(name, definitions), selection, instance, address)
        )
        run = instance.get_run_by_id(run_id)
        assert run is not None
        store = forge_resources(settings)["forge_store"].open()
        rows = [_row(event, store) for event in _materializations(run_id, instance)]
        failure = None if run.is_success else _first_failure(run_id, instance)
        words = [] if failure else list(_words(name, store))
    console.print(closing_table(rows), soft_wrap=False)
    if failure is not None:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"forge: {failure}", style="red", markup=False)
        return 1
    if words:
        console.print()
    for part in words:
        console.print(part, soft_wrap=isinstance(part, str), markup=False)
    return 0


def load_definitions(module: str) -> dg.Definitions:
    """Import a module's one ``defs``.

    Raises:
        ConfigError: a YAML file says something wrong; the message says which, where and what.
    """
    try:
        definitions = importlib.import_module(module).defs
    except Exception as error:
        raise ConfigError(sentence_of(error)) from error
    assert isinstance(definitions, dg.Definitions)
    return definitions


def _select(name: str, definitions: dg.Definitions) -> list[dg.AssetKey]:
    graph = definitions.resolve_asset_graph()
    own = [key for key in graph.executable_asset_keys if key.path[0] == name]
    if not own:
        known = sorted({key.path[0] for key in graph.executable_asset_keys})
        raise ConfigError(f"nothing is named {name}; there are {', '.join(known)}")
    return sorted(dg.AssetSelection.assets(*own).upstream().resolve(graph))


def _execute(
    name: str, definitions: dg.Definitions, selection: Sequence[dg.AssetKey], instance: dg.DagsterInstance, home: Path
) -> str:
    """Run the steps in this process, one after another."""
    job, run_id = definitions.resolve_implicit_global_asset_job_def(), str(uuid.uuid4())
    with working(home, run_id):
        job.execute_in_process(
            asset_selection=selection,
            instance=instance,
            raise_on_error=False,
            run_id=run_id,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={MODEL_TAG: name, TRIGGER_TAG: "forge run", HOST_TAG: here()},
        )
    return run_id


def _job(name: str, definitions: dg.Definitions) -> str:
    """Return the job of a model, by whose name its runs are listed; a corpus or a source has none of its own."""
    return name if name in {job.name for job in definitions.jobs or ()} else _GLOBAL_JOB


def _submit(name: str, job: str, selection: Sequence[dg.AssetKey], instance: dg.DagsterInstance, address: str) -> str:
    """Have the running `forge up` run the steps, and wait for their end."""
    from dagster_graphql import DagsterGraphQLClient

    host, _, port = address.removeprefix("http://").partition(":")
    run_id = DagsterGraphQLClient(host, port_number=int(port)).submit_job_execution(
        job, asset_selection=selection, tags={MODEL_TAG: name, TRIGGER_TAG: "forge run"}
    )
    report = LISTENER.get()
    report(Progress(name, message=f"submitted to {address}/runs/{run_id}"))
    done = -1
    while not (run := instance.get_run_by_id(run_id)) or not run.is_finished:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        if (now := len(_materializations(run_id, instance))) != done:
            done = now
            report(Progress(f"{name}: making assets", done, len(selection), "assets"))
    return run_id


def _materializations(run_id: str, instance: dg.DagsterInstance) -> list[dg.AssetMaterialization]:
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    return [entry.asset_materialization for entry in entries if entry.asset_materialization is not None]


def _row(made: dg.AssetMaterialization, store: Store) -> MadeRow:
    name, stage = made.asset_key.path[0], made.asset_key.path[-1]
    if stage not in STAGES:
        return MadeRow(made.asset_key.to_user_string(), "", worked=True, seconds=0.0, fingerprint="")
    return MadeRow(
        asset=made.asset_key.to_user_string(),
        made=made_in_words(stage, store.latest(name, stage).counts),
        worked=bool(made.metadata["forge/worked"].value),
        seconds=float(str(made.metadata["forge/seconds"].value)),
        fingerprint=str(made.metadata["forge/fingerprint"].value),
    )


def _words(name: str, store: Store) -> Iterator[RenderableType]:
    """Yield the closing words of a model; a corpus or a source has none."""
    if not any(store.manifests(name, "registered_model")):
        return
    manifest = store.latest(name, "evaluation_report")
    folder = store.open(manifest)
    called = Path(sys.argv[0])
    command = str(called) if called.name == "forge" else "forge"
    yield from closing_words(read_report(folder), str(folder / PAGE), command)


def _first_failure(run_id: str, instance: dg.DagsterInstance) -> str:
    """Return the sentence of the step that failed first, or of the run when no step did.

    Raises:
        KeyboardInterrupt: no step failed; a person ended the run.
    """
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        assert entry.dagster_event is not None
        data = entry.dagster_event.step_failure_data
        error = data.error
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None and error.cls_name == dg.DagsterExecutionInterruptedError.__name__:
            raise KeyboardInterrupt
        said = data.user_failure_data.description if data.user_failure_data else None
        fault = f"{error.cls_name}: {error.message.splitlines()[0]}" if error else "failed"
        return f"{(entry.step_key or '').replace('__', '/')}: {said or fault}"
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE):
        assert entry.dagster_event is not None
        return f"run {run_id}: {entry.dagster_event.message}"
    return f"run {run_id} was ended before it finished"
