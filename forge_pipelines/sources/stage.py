"""The stage `raw_documents`: every item of a source becomes documents and rejections."""

import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from forge_pipelines.chunks import ForgottenError
from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import StageRequest, code_version, digest
from forge_pipelines.progress import OnProgress, Progress, silent
from forge_pipelines.sources import identity
from forge_pipelines.sources.assembly import assemble
from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.sources.connections import Connections, no_connections
from forge_pipelines.sources.place import Place, Refusal
from forge_pipelines.sources.places.opening import open_place
from forge_pipelines.sources.readers import registry
from forge_pipelines.sources.readings import Readings
from forge_pipelines.sources.stamps import Stamps
from forge_pipelines.sources.survey import Survey, read_found
from forge_pipelines.staging import alone_in, full_disk_named
from forge_pipelines.store import Publication, Store

CODE_VERSION = f"4+readers-{registry.READERS_VERSION}"
KIND = identity.STAGE
_STAMPS = "stamps.parquet"


def read_source(
    config: SourceConfig,
    store: Store,
    on_progress: OnProgress = silent,
    connections: Connections = no_connections,
) -> Publication:
    """Publish the documents of a source, or find them published: see `read_place`.

    Raises:
        ConfigError: there is no such place, its connection is not known, or nothing recognises text as told.
        DataError, PlatformError: see `read_place`.
    """
    _check_ocr(config)
    return read_place(config, open_place(config, connections), store, on_progress)


def read_place(config: SourceConfig, place: Place, store: Store, on_progress: OnProgress = silent) -> Publication:
    """Publish what a place holds, or find it published: the same contents are the same, wherever they stand.

    What was read is remembered, by the hash of its bytes: a run that was ended in the middle goes on, and a changed
    estate costs what has changed. A file that changes while it is read is rejected in this publication, which is then
    told apart from one that holds the file: the next call reads it.

    Raises:
        ConfigError: the place may not be entered.
        DataError: nothing there is wanted, it cannot be told apart, or everything was rejected.
        PlatformError: the place does not answer, or the disk is full.
        In each case nothing is published.
    """
    memory = store.memory(config.name, KIND)
    waiting = Progress(config.name, message=f"{config.name}: another run reads it; waiting for its end")
    with alone_in(memory, partial(on_progress, waiting)), full_disk_named(f"{config.name}/{KIND}", memory):
        while True:
            try:
                return _publish(config, store, place, memory, on_progress)
            except ForgottenError:
                continue  # what it held is read again


def stamps_of(config: SourceConfig, store: Store, place: Place) -> Stamps:
    """Return what a source's last survey found under which stamps."""
    return Stamps(store.memory(config.name, KIND) / _STAMPS, place.address)


def _check_ocr(config: SourceConfig) -> None:
    command = config.reading.ocr
    if command and shutil.which(command[0]) is None:
        raise ConfigError(f"source {config.name}: there is no program {command[0]}; install it, or mend `reading.ocr`")


def _publish(config: SourceConfig, store: Store, place: Place, memory: Path, on_progress: OnProgress) -> Publication:
    readings = Readings(_readings_folder(config, memory))
    with TemporaryDirectory(dir=memory) as scratch:
        survey = _survey(config, store, place, readings, Path(scratch) / "found.jsonl", on_progress)
        publication = store.obtain(_request(config, survey), lambda folder: assemble(survey, folder))
        if publication.fresh:
            readings.tidy((found.sha256 for found in read_found(survey.found) if found.sha256), survey.num_items)
    return publication


def _survey(
    config: SourceConfig, store: Store, place: Place, readings: Readings, found: Path, on_progress: OnProgress
) -> Survey:
    moved: dict[str, Refusal] = {}
    while True:
        survey = Survey(config, place, stamps_of(config, store, place), readings, found, moved, on_progress)
        survey.make()
        if not survey.num_items:
            raise DataError(f"source {config.name}: nothing in {place.address} {place.wanted}; correct its YAML")
        if not survey.now_moved:
            return survey
        moved |= survey.now_moved


def _request(config: SourceConfig, survey: Survey) -> StageRequest:
    return StageRequest(
        kind=KIND,
        name=config.name,
        inputs={"listing": survey.fingerprint.hexdigest()},
        parameters={
            **config.model_dump(mode="json", include={"labels", "reading"}),
            "options": config.reading_options.model_dump(mode="json"),
        },
        code_version=_code_version(),
    )


def _code_version() -> str:
    return code_version(CODE_VERSION, *registry.LIBRARIES)


def _readings_folder(config: SourceConfig, memory: Path) -> Path:
    """Return where readings of this kind are remembered; those that other readers made are forgotten."""
    kind = digest([_code_version(), config.reading_options.model_dump(mode="json")])
    folder = memory / f"readings-{kind[:16]}"
    for other in memory.iterdir():
        if other not in {folder, memory / _STAMPS}:
            shutil.rmtree(other, ignore_errors=True)
    return folder
