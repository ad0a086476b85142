"""MLflow model versions: one a report, weights in the store, `MLmodel` and tokenizer beside the training run."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from forge_pipelines.errors import DataError
from forge_pipelines.registry.tracking import Tracking

TAGS = "forge."
REPORT_TAG = f"{TAGS}report"
CARD = "model_card.md"

_TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template*",
)
# The column of MLflow's database (mlflow/store/model_registry/dbmodels/models.py, SqlModelVersion.description).
_DESCRIPTION_CHARACTERS = 5000
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Draft:
    """A version as it is to stand in MLflow.

    Attributes:
        source: where its files are, below the artifacts of the run.
        tags: `REPORT_TAG` among them, by which it is found again.
    """

    model: str
    run_id: str
    source: str
    tags: Mapping[str, str]
    card: str


@dataclass(frozen=True, slots=True)
class Standing:
    """A version that stands in MLflow: its report's fingerprint, and the aliases that name it."""

    model: str
    number: int
    report: str
    aliases: tuple[str, ...] = ()


def write_model_folder(folder: Path, checkpoint: Path, card: str, metadata: Mapping[str, str]) -> None:
    """Write what MLflow holds of a model: `MLmodel`, which points at the weights, the tokenizer and the card.

    The checkpoint is the local, absolute folder of the weights. Auto classes are named, not those of the checkpoint:
    MLflow runs a model's own code when it does not know a class.
    """
    import mlflow
    import yaml

    transformers_flavor = {
        "task": "text-generation",
        "instance_type": "TextGenerationPipeline",
        "pipeline_model_type": "AutoModelForCausalLM",
        "source_model_name": str(checkpoint),
        "local_base_model_path": str(checkpoint),
        "components": ["tokenizer"],
        "tokenizer_type": "AutoTokenizer",
    }
    model = {
        "flavors": {"transformers": transformers_flavor},
        "metadata": dict(metadata),
        "mlflow_version": mlflow.__version__,
    }
    tokenizer = folder / "components" / "tokenizer"
    tokenizer.mkdir(parents=True)
    for path in sorted(checkpoint.iterdir()):
        if any(fnmatch(path.name, pattern) for pattern in _TOKENIZER_FILES):
            shutil.copyfile(path, tokenizer / path.name)
    (folder / "MLmodel").write_text(yaml.safe_dump(model, sort_keys=False))
    (folder / CARD).write_text(card)


def find_version(tracking: Tracking, model: str, report: str) -> int | None:
    """Return the number of the version that was registered from a report, told by its fingerprint, or None.

    Raises:
        PlatformError: MLflow cannot be reached.
    """
    found = tracking.ask("search_model_versions", f"name = '{model}' and tags.`{REPORT_TAG}` = '{report}'")
    return min((int(version.version) for version in found), default=None)


def upload(tracking: Tracking, run_id: str, files: Path, folder: str) -> str:
    """Make files artifacts of a run, in place of any of the same name, and return where they stand.

    Raises:
        PlatformError: MLflow or its artifacts cannot be reached.
    """
    tracking.ask("log_artifacts", run_id, str(files), folder)
    return f"{tracking.ask('get_run', run_id).info.artifact_uri}/{folder}"


def set_version(tracking: Tracking, draft: Draft) -> int:
    """Make the version of one report what the draft says: find it by its report, or create it; return its number.

    A call that was killed anywhere is completed by the next one; there is never a second version for one report.

    Raises:
        PlatformError: MLflow cannot be reached, or refused.
    """
    number = find_version(tracking, draft.model, draft.tags[REPORT_TAG])
    description = _shortened(draft.card)
    if number is None:
        tracking.ask("create_registered_model", draft.model, unless="RESOURCE_ALREADY_EXISTS")
        options: dict[str, Any] = {"run_id": draft.run_id, "tags": dict(draft.tags), "description": description}
        return int(tracking.ask("create_model_version", draft.model, draft.source, **options).version)
    tracking.ask("update_model_version", draft.model, str(number), description=description)
    earlier = tracking.ask("get_model_version", draft.model, str(number)).tags
    for key in (key for key in earlier if key.startswith(TAGS) and key not in draft.tags):
        tracking.ask("delete_model_version_tag", draft.model, str(number), key)
    for key, value in draft.tags.items():
        tracking.ask("set_model_version_tag", draft.model, str(number), key, value)
    return number


def point_alias(tracking: Tracking, model: str, alias: str, number: int) -> None:
    """Give an alias to a version, and take it from any other.

    Raises:
        PlatformError: MLflow cannot be reached, or has no such version.
    """
    tracking.ask("set_registered_model_alias", model, alias, str(number))


def standing_versions(tracking: Tracking) -> list[Standing]:
    """Return every version that was registered from a report.

    Raises:
        PlatformError: MLflow cannot be reached.
    """
    models = _all(tracking, "search_registered_models", order_by=["name ASC"])
    aliases = {model.name: {alias: int(number) for alias, number in model.aliases.items()} for model in models}
    return [
        Standing(
            model=version.name,
            number=int(version.version),
            report=version.tags[REPORT_TAG],
            aliases=tuple(alias for alias, named in aliases[version.name].items() if named == int(version.version)),
        )
        for version in _all(tracking, "search_model_versions", order_by=["name ASC", "version_number ASC"])
        if REPORT_TAG in version.tags
    ]


def retire(tracking: Tracking, version: Standing, reason: str) -> bool:
    """Delete a version, and write why to the run of its training; return False when it was gone already.

    Raises:
        DataError: an alias names it.
        PlatformError: MLflow cannot be reached.
    """
    where = (version.model, str(version.number))
    found = tracking.ask("get_model_version", *where, unless="RESOURCE_DOES_NOT_EXIST")
    if found is None:
        return False
    if found.aliases:
        title = f"{version.model} version {version.number}"
        raise DataError(f"{title} stays, because @{found.aliases[0]} names it; take the alias away to remove it")
    tracking.ask("set_tag", found.run_id, f"{TAGS}retired.{version.number}", reason)
    tracking.ask("delete_model_version", *where)
    return True


def _all(tracking: Tracking, method: str, **options: Any) -> Iterator[Any]:
    page = tracking.ask(method, max_results=_PAGE, **options)
    yield from page
    while page.token:
        page = tracking.ask(method, max_results=_PAGE, page_token=page.token, **options)
        yield from page


def log_metrics(tracking: Tracking, run_id: str, metrics: Mapping[str, float]) -> None:
    """Write single numbers to a run, those that it does not have yet.

    Raises:
        PlatformError: MLflow cannot be reached.
    """
    recorded = tracking.ask("get_run", run_id).data.metrics
    for name, value in metrics.items():
        if recorded.get(name) != value:
            tracking.ask("log_metric", run_id, name, value)


def _shortened(description: str) -> str:
    if len(description) <= _DESCRIPTION_CHARACTERS:
        return description
    ending = f"\n\n… The whole card is the artifact `{CARD}` of the run."
    return description[: _DESCRIPTION_CHARACTERS - len(ending)] + ending
