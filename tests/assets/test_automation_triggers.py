"""What a model's `retrain:` does: nothing until it is turned on, then one run for each cause."""

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from pydantic import ValidationError

from forge_assets.automation.config import NewDocuments, RetrainConfig
from forge_assets.automation.retrain import retraining, stale_condition
from forge_assets.automation.runs import run_tags
from forge_assets.resources import ConnectionsResource, StoreResource
from forge_pipelines.manifest import Classification
from forge_pipelines.sources.config import Labels, SourceConfig
from forge_pipelines.sources.places.config import FolderPlace
from forge_pipelines.sources.stage import read_source
from forge_pipelines.store import Store

Tick = Callable[[str | None], tuple[list[dg.RunRequest], str | None, str | None]]


@pytest.fixture
def source(tmp_path: Path) -> SourceConfig:
    folder = tmp_path / "post"
    folder.mkdir()
    (folder / "a.md").write_text("Dear Ada, here is some paper.")
    return SourceConfig(
        name="post",
        folder=FolderPlace(path=str(folder)),
        labels=Labels(licence="CC-BY-4.0", classification=Classification.INTERNAL),
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def chain(config: RetrainConfig, source: SourceConfig) -> dg.Definitions:
    """A model of two assets on a corpus whose blocking check holds what a file says."""
    corpus_key = dg.AssetKey(["letters", "validated_corpus"])

    @dg.asset(key=corpus_key, check_specs=[dg.AssetCheckSpec("expectations", asset=corpus_key, blocking=True)])
    def validated_corpus() -> dg.MaterializeResult:
        content = (Path(source.folder.path) / "a.md").read_text()
        check = dg.AssetCheckResult(check_name="expectations", passed="bad" not in content)
        return dg.MaterializeResult(data_version=dg.DataVersion(content), check_results=[check])

    @dg.asset(key=["clerk", "tokenized_shards"], deps=[validated_corpus])
    def tokenized_shards() -> None: ...

    @dg.asset(key=["clerk", "registered_model"], deps=[tokenized_shards])
    def registered_model() -> None: ...

    selection = dg.AssetSelection.assets(registered_model).upstream()
    job = dg.define_asset_job("clerk", selection=selection, tags=run_tags("clerk", "by hand"))
    model = retraining("clerk", config, [tokenized_shards, registered_model], job, [source])
    return dg.Definitions.merge(dg.Definitions(assets=[validated_corpus]), model)


EVERYTHING = {"cron": "0 3 * * *", "on_new_documents": NewDocuments(settle_seconds=0), "on_stale": True}


def test_nothing_starts_by_itself_unless_the_yaml_or_the_web_ui_says_so(source: SourceConfig) -> None:
    nothing = chain(RetrainConfig(), source).get_repository_def()
    assert not nothing.sensor_defs
    assert not nothing.schedule_defs
    for status in ("stopped", "running"):
        config = RetrainConfig.model_validate({**EVERYTHING, "default_status": status})
        repository = chain(config, source).get_repository_def()
        assert {sensor.name for sensor in repository.sensor_defs} == {"clerk_on_new_documents", "clerk_on_stale"}
        declared = [*repository.sensor_defs, *repository.schedule_defs]
        assert {automation.default_status.value for automation in declared} == {status.upper()}


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"cron": "every day"}, "«every day» is no cron schedule; write five fields such as 0 3 * * 1"),
        ({"cron": "0 3 * * *", "timezone": "Mars"}, "«Mars» is no time zone; write one such as Europe/Berlin"),
        ({"default_status": "running"}, "turns nothing on: give cron, on_new_documents or on_stale"),
        ({"on_new_documents": {"settle_seconds": -1}}, "greater than or equal to 0"),
    ],
)
def test_what_cannot_be_is_one_sentence(said: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence.replace("*", r"\*")):
        RetrainConfig.model_validate(said)


def test_the_schedule_launches_the_models_job_and_says_so(source: SourceConfig, instance: dg.DagsterInstance) -> None:
    config = RetrainConfig(cron="0 3 * * *", timezone="Europe/Berlin")
    repository = chain(config, source).get_repository_def()
    schedule = repository.get_schedule_def("clerk_on_cron")
    assert (schedule.job_name, schedule.cron_schedule) == ("clerk", "0 3 * * *")
    assert schedule.execution_timezone == "Europe/Berlin"
    tick = schedule.evaluate_tick(dg.build_schedule_context(instance, repository_def=repository))
    assert tick.run_requests is not None
    [request] = tick.run_requests
    assert request.tags.items() >= {"forge/model": "clerk", "forge/trigger": "cron"}.items()


@pytest.fixture
def tick(source: SourceConfig, instance: dg.DagsterInstance, tmp_path: Path) -> Tick:
    config = RetrainConfig(on_new_documents=NewDocuments(settle_seconds=0))
    repository = chain(config, source).get_repository_def()
    sensor = repository.get_sensor_def("clerk_on_new_documents")
    resources = {
        "forge_store": StoreResource(address=str(tmp_path / "store"), scratch=str(tmp_path / "scratch")),
        "forge_connections": ConnectionsResource(),
    }

    def evaluate(cursor: str | None) -> tuple[list[dg.RunRequest], str | None, str | None]:
        context = dg.build_sensor_context(instance, cursor=cursor, resources=resources, repository_def=repository)
        found = sensor.evaluate_tick(context)
        return list(found.run_requests or []), found.skip_message, found.cursor

    return evaluate


def test_new_documents_are_one_run_and_the_same_tick_again_none(tick: Tick, source: SourceConfig) -> None:
    none, _, seen = tick(None)
    assert none == []
    [first], _, cursor = tick(seen)
    assert first.tags.items() >= {"forge/model": "clerk", "forge/trigger": "new documents"}.items()
    [again], _, _ = tick(seen)
    assert again.run_key == first.run_key, "a tick that is repeated after a crash asks for the same run"
    assert tick(cursor)[:2] == ([], "no document has changed")

    (Path(source.folder.path) / "b.md").write_text("Dear Boris, here is some ink.")
    none, waiting, seen = tick(cursor)
    assert none == []
    assert waiting == "documents are changing; they are taken when still for 0 s"
    [second], _, cursor = tick(seen)
    assert second.run_key != first.run_key
    assert tick(cursor)[0] == []


def test_what_the_last_run_has_read_is_no_news(tick: Tick, source: SourceConfig, store: Store) -> None:
    read_source(source, store)
    _, _, seen = tick(None)
    none, said, _ = tick(seen)
    assert none == []
    assert said == "files were touched; no document has changed since the sources were last read"


def test_a_folder_that_vanishes_is_a_skip_that_forgets_nothing(tick: Tick, source: SourceConfig) -> None:
    _, _, seen = tick(None)
    _, _, cursor = tick(seen)
    folder = Path(source.folder.path)
    folder.rename(folder.with_name("away"))
    none, said, kept = tick(cursor)
    assert none == []
    assert said is not None
    assert said.startswith(f"the folder {folder} does not exist")
    assert kept == cursor
    folder.with_name("away").rename(folder)
    assert tick(kept)[:2] == ([], "no document has changed")


def test_a_change_that_its_inputs_checks_passed_makes_the_model_again(
    source: SourceConfig, instance: dg.DagsterInstance
) -> None:
    definitions = chain(RetrainConfig(on_stale=True), source)
    file = Path(source.folder.path) / "a.md"

    def corpus_made_of(content: str) -> None:
        file.write_text(content)
        job = definitions.resolve_implicit_global_asset_job_def()
        job.execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey(["letters", "validated_corpus"])], raise_on_error=False
        )

    definitions.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
    state = dg.evaluate_automation_conditions(definitions, instance)
    assert state.total_requested == 0
    requested = []
    for content in ("Dear Ada, here is some paper.", "Dear Ada, bad news.", "Dear Ada, good news."):
        corpus_made_of(content)
        state = dg.evaluate_automation_conditions(definitions, instance, cursor=state.cursor)
        requested.append(state.total_requested)
    assert requested == [0, 0, 2], "unchanged, refused by its blocking check, changed and passed"


def test_stale_runs_are_tagged_and_target_the_model_alone(source: SourceConfig) -> None:
    repository = chain(RetrainConfig(on_stale=True), source).get_repository_def()
    sensor = repository.get_sensor_def("clerk_on_stale")
    assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
    assert sensor.run_tags == {"forge/model": "clerk", "forge/trigger": "stale"}
    conditions = {
        key.to_user_string()
        for key in repository.asset_graph.get_all_asset_keys()
        if repository.asset_graph.get(key).automation_condition == stale_condition()
    }
    assert conditions == {"clerk/tokenized_shards", "clerk/registered_model"}


def test_the_registered_model_must_be_fresh(source: SourceConfig) -> None:
    graph = chain(RetrainConfig(fresh_within_hours=48), source).resolve_asset_graph()
    policies = {key.path[-1]: graph.get(key).freshness_policy for key in graph.get_all_asset_keys()}
    assert policies.pop("registered_model") is not None
    assert set(policies.values()) == {None}
