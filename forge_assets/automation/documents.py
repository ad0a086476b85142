"""The sensor over the documents of a model's sources: one run a change."""

from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from forge_assets.automation.config import NewDocuments
from forge_assets.automation.runs import run_tags
from forge_assets.resources import ConnectionsResource, StoreResource
from forge_pipelines.errors import DataError, ForgeError
from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.sources.places.opening import open_place
from forge_pipelines.sources.stage import KIND
from forge_pipelines.sources.watching import Look, Watch, listing_read, look
from forge_pipelines.store import Store


def new_documents_sensor(
    model: str,
    sources: Sequence[SourceConfig],
    job: UnresolvedAssetJobDefinition,
    config: NewDocuments,
    status: dg.DefaultSensorStatus,
) -> dg.SensorDefinition:
    """Return a sensor whose cursor is a `Watch`. What the sources' last runs read is no change when it is turned on."""
    names = ", ".join(source.name for source in sources)

    @dg.sensor(
        name=f"{model}_on_new_documents",
        job=job,
        minimum_interval_seconds=config.look_every_seconds,
        default_status=status,
        description=f"Makes {model} again when the documents of {names} have changed and settled.",
    )
    def on_new_documents(
        context: dg.SensorEvaluationContext, forge_store: StoreResource, forge_connections: ConnectionsResource
    ) -> dg.SensorResult:
        store = forge_store.open()
        try:
            watched = [(source, open_place(source, forge_connections.open())) for source in sources]
            found = look(watched, _remembered(context.cursor, sources, store), config.settle_seconds, store)
        except ForgeError as error:
            return dg.SensorResult(skip_reason=str(error))
        cursor = found.watch.model_dump_json()
        if not found.changed:
            return dg.SensorResult(skip_reason=found.sentence, cursor=cursor)
        context.log.info(f"{model}: {found.sentence}; a run starts")
        return dg.SensorResult(run_requests=[_run_request(model, found)], cursor=cursor)

    return on_new_documents


def _remembered(cursor: str | None, sources: Sequence[SourceConfig], store: Store) -> Watch:
    if cursor:
        return Watch.model_validate_json(cursor)
    try:
        return Watch(listing=listing_read([store.latest(source.name, KIND) for source in sources]))
    except DataError:  # one was never made: all documents are new
        return Watch()


def _run_request(model: str, found: Look) -> dg.RunRequest:
    # The time tells a change back to what was there before from that; a tick that is repeated has the same.
    key = f"{found.watch.listing[:16]}@{found.watch.since:.3f}"
    return dg.RunRequest(run_key=key, tags=run_tags(model, "new documents"))
