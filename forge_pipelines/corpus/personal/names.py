"""Names and addresses of persons, through whatever an operator supplies: a list, or a model, behind one interface."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from forge_pipelines.corpus.personal.config import PersonalDataConfig
from forge_pipelines.corpus.personal.findings import Found, Kind
from forge_pipelines.corpus.personal.labels import usual_kinds
from forge_pipelines.corpus.personal.model_folder import (
    CONFIGURATION,
    FILES,
    ModelFolder,
    hash_model,
    holds_model,
    look_at,
)
from forge_pipelines.corpus.personal.name_list import NAMES_FILE, hash_list, load_list
from forge_pipelines.corpus.personal.token_classifier import ClassifiedNames
from forge_pipelines.errors import ConfigError
from forge_pipelines.manifest import digest


class NameFinder(Protocol):
    """What finds names and addresses: a list of them, or a model that a site brings."""

    def find(self, text: str) -> Iterable[Found]:
        """Yield findings of `Kind.NAME` and `Kind.ADDRESS`."""


def load_names(config: PersonalDataConfig) -> tuple[NameFinder, ...]:
    """Return what finds the names and addresses that a configuration does not keep: its folder's list, model or both.

    A model itself is loaded when it is given its first text.

    Raises:
        ConfigError: the folder holds neither, or one that cannot be used; see `name_list`, `model_folder`.
    """
    folder = config.names_model
    if folder is None:
        return ()
    finders: list[NameFinder] = []
    has_list, has_model = _contents(folder)
    if has_list:
        listed = load_list(folder)
        if config.name != "keep":
            finders.append(listed)
    if has_model:
        model = look_at(folder)
        kinds = {label: kind for label, kind in _kinds(model, config).items() if config.action(kind) != "keep"}
        if kinds:
            finders.append(ClassifiedNames(folder, model.stamp, kinds))
    elif config.names_labels is not None:
        message = f"personal_data.names_labels says what a model's labels mean, and {folder} holds only {NAMES_FILE}"
        raise ConfigError(f"{message}; leave it out, or put a model there")
    return tuple(finders)


def check_names(config: PersonalDataConfig | None) -> None:
    """Check the folder of names that a corpus's YAML names, in milliseconds.

    Raises:
        ConfigError: see `load_names`.
    """
    if config is not None:
        load_names(config)


def names_version(folder: Path) -> str:
    """Return a SHA-256 of what shapes the findings of a folder: it belongs to the request of what is made with it.

    Raises:
        ConfigError: the folder holds neither list nor model, or a file of theirs cannot be read.
    """
    has_list, has_model = _contents(folder)
    hashes = ([hash_list(folder)] if has_list else []) + ([hash_model(look_at(folder))] if has_model else [])
    return hashes[0] if len(hashes) == 1 else digest(hashes)


def _contents(folder: Path) -> tuple[bool, bool]:
    """Tell if a folder holds a list, and if it holds a model.

    Raises:
        ConfigError: it holds neither.
    """
    has_list, has_model = (folder / NAMES_FILE).exists(), holds_model(folder)
    if not has_list and not has_model:
        what = "holds neither a list nor a model" if folder.is_dir() else "is no folder"
        message = (
            f"{folder} {what}; personal_data.names_model names a folder with {NAMES_FILE}, or with {', '.join(FILES)}"
        )
        raise ConfigError(f"{message} of a token classifier")
    return has_list, has_model


def _kinds(model: ModelFolder, config: PersonalDataConfig) -> Mapping[str, Kind]:
    """Return what a model's labels stand for: as the configuration says, or else as such labels are usually named.

    Raises:
        ConfigError: the configuration names a label that the model does not have, or none is known.
    """
    path, known = model.path / CONFIGURATION, ", ".join(model.labels) or "none"
    if config.names_labels is None:
        kinds = usual_kinds(model.labels)
        if not kinds:
            message = f"{path} has labels ({known}) of which none is known to mark persons or addresses"
            raise ConfigError(f"{message}; say in personal_data.names_labels which do, for example {{PER: name}}")
        return kinds
    unknown = sorted(set(config.names_labels) - set(model.labels))
    if unknown:
        message = f"personal_data.names_labels names {unknown[0]}, which is no label of {path}"
        raise ConfigError(f"{message}; its labels are {known}")
    return {label: Kind(kind) for label, kind in config.names_labels.items()}
