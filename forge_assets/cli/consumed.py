"""`forge consumed`: which documents a training consumed at a step, and at which steps it consumed a document."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from forge_assets.cli.found import visible
from forge_assets.cli.screen import wide_console
from forge_assets.instance import forge_environment
from forge_assets.resources import forge_resources
from forge_assets.settings import Settings
from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import Manifest
from forge_pipelines.registry.releases import Releases, read_target
from forge_pipelines.store import Store
from forge_pipelines.training.consumption import Consumed, Consumption
from forge_pipelines.training.whereabouts import Whereabouts, find_document

_STAGE = "trained_checkpoint"
_SHOWN_ID_DIGITS = 12
_OF_STEP = ("document", "corpus", "source", "uri", "epoch", "tokens")
_OF_DOCUMENT = ("document", "corpus", "step", "epoch", "sample", "tokens")
_NUMBERS = {"step", "epoch", "sample", "tokens"}


def show_consumed(target: str, settings: Settings, *, version: int | None, step: int | None, doc: str | None) -> int:
    """Print a table on a terminal, else a line for each row, its columns between tabs; what is said of it stands apart.

    Args:
        target: a model, or ``model@alias``.
        settings: where the store and MLflow are.
        version: that of a registered model; by default the training that the store was last asked for.
        step: the step whose documents are listed, counted from 1.
        doc: the document whose steps are listed: its ``doc_id``, or at least 8 digits of it, or its ``uri``.

    Returns:
        0, or 1 when no step consumed the document.

    Raises:
        ConfigError: not one question was asked, or there is no such version, alias or step; or several documents are
            called so.
        DataError: there is no such training, or no such document; or what was published is damaged.
        PlatformError: MLflow cannot be reached for the alias.
    """
    if (step is None) == (doc is None):
        raise ConfigError("forge consumed answers one question at a time; write --step N or --doc ID")
    store = forge_resources(settings)["forge_store"].open()
    checkpoint = _checkpoint(store, target, version, settings)
    consumption = Consumption(store, checkpoint)
    _say(
        f"{checkpoint.name}/{_STAGE} {checkpoint.fingerprint[:12]}, made {checkpoint.created_at}: {_size(consumption)}"
    )
    if step is not None:
        consumed = consumption.of_step(step)
        _say(f"step {step} consumed {len(consumed):,} documents, {sum(each.tokens for each in consumed):,} tokens")
        _print(_OF_STEP, map(_step_cells, consumed))
        return 0
    assert doc is not None
    found = find_document(consumption, doc)
    for each in found:
        _say(f"{each.title}: {_in_words(each)}")
    rows = [cells for each in found for cells in _reading_cells(each)]
    _print(_OF_DOCUMENT, rows)
    return 0 if rows else 1


def _checkpoint(store: Store, target: str, version: int | None, settings: Settings) -> Manifest:
    model, alias = read_target(target)
    if alias is None and version is None:
        return _latest(store, model)
    if alias is not None and version is not None:
        raise ConfigError(f"{target} names a version itself; leave --version away, or the alias")
    with ExitStack() as stack:
        experiment = None
        if alias is not None:
            stack.enter_context(forge_environment(settings))
            tracking = forge_resources(settings)["forge_registry"].open()
            version = Releases(tracking, store, model, alias).version()
            experiment = tracking.experiment(model).identity
        assert version is not None
        return _of_version(store, model, version, experiment)


def _latest(store: Store, model: str) -> Manifest:
    if not store.pointers([f"{model}/{_STAGE}"]):
        trained = sorted(stage.partition("/")[0] for stage in store.stages() if stage.endswith(f"/{_STAGE}"))
        there_are = f"trained are {', '.join(trained)}" if trained else "no model is trained yet"
        raise DataError(f"no finished training of {model} is in {store.address}: {there_are}; run `forge run {model}`")
    return store.latest(model, _STAGE)


def _of_version(store: Store, model: str, version: int, experiment: str | None) -> Manifest:
    """Return the checkpoint of a version: of the MLflow whose experiment is named, or of any.

    Raises:
        ConfigError: there is no such version, or there are several.
        DataError: what it was made from is not in the store.
    """
    registered = [each for each in store.manifests(model, "registered_model") if each.counts["version"] == version]
    reports = {each.inputs["report"] for each in registered if experiment in {None, each.inputs["mlflow"]}}
    if not reports:
        versions = sorted({int(each.counts["version"]) for each in store.manifests(model, "registered_model")})
        there_are = f"it has {', '.join(map(str, versions))}" if versions else "it has none"
        raise ConfigError(f"{model} has no version {version} in {store.address}; {there_are}")
    if len(reports) > 1:
        raise ConfigError(
            f"{len(reports)} MLflows have a version {version} of {model}; write {model}@ALIAS for this one's"
        )
    report = store.published(model, "evaluation_report", reports.pop())
    return store.published(model, _STAGE, report.inputs["checkpoint"])


def _size(consumption: Consumption) -> str:
    skipped = f", {len(consumption.skipped_batches)} batches skipped" if consumption.skipped_batches else ""
    return f"{consumption.num_steps:,} steps of {consumption.batch_sequences:,} sequences{skipped}"


def _in_words(found: Whereabouts) -> str:
    if found.survivor is not None:
        return f"{found.reason}; that one: {_in_words(found.survivor)}"
    if found.reason:
        return found.reason
    steps = sorted({reading.step for reading in found.readings})
    if len(steps) == 1:
        return f"consumed at step {steps[0]:,}, from {found.place}"
    return f"consumed at {len(steps):,} steps, first {steps[0]:,}, last {steps[-1]:,}, from {found.place}"


def _step_cells(consumed: Consumed) -> tuple[str, ...]:
    epochs = ", ".join(map(str, sorted({reading.epoch for reading in consumed.readings})))
    where = (consumed.doc_id, consumed.corpus, consumed.source, consumed.uri or "")
    return (*where, epochs, str(consumed.tokens))


def _reading_cells(found: Whereabouts) -> Iterable[tuple[str, ...]]:
    """Return the rows of a document, or of the one that stands for it."""
    read = found.survivor or found
    corpus = read.place.removeprefix("corpus ")
    for each in read.readings:
        yield read.doc_id, corpus, str(each.step), str(each.epoch), str(each.sample), str(each.tokens)


def _print(columns: Sequence[str], rows: Iterable[tuple[str, ...]]) -> None:
    console = wide_console()
    if not console.is_terminal:
        for row in rows:
            typer.echo("\t".join(map(visible, row)))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in _NUMBERS else "left", overflow="fold")
    for first, *others in rows:
        table.add_row(first[:_SHOWN_ID_DIGITS], *(Text(visible(cell)) for cell in others))
    if table.row_count:
        console.print(table)


def _say(sentence: str) -> None:
    console = Console(soft_wrap=True, highlight=False)
    if not console.is_terminal:
        console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(Text(visible(sentence)))
