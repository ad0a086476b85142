"""What the three components share: their attributes are a stage's own configuration model, and nothing more."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import dagster as dg
from dagster.components.scaffold.scaffold import Scaffolder, ScaffoldRequest
from pydantic import BaseModel, ValidationError

from forge_pipelines.errors import ConfigError

CPU_POOL = "forge_cpu"
"""The pool of steps that keep the cores busy: `dagster.yaml` says how many of them run at a time, over all runs."""


class NamedConfig(Protocol):
    """A configuration that has a name."""

    @property
    def name(self) -> str:
        """The name, unique among its kind."""


ConfigT = TypeVar("ConfigT", bound=NamedConfig)
ComponentT = TypeVar("ComponentT", bound=dg.Component)


class YamlComponent(dg.Component, Generic[ConfigT]):
    """A component whose YAML attributes are a frozen configuration model."""

    config_class: ClassVar[type[BaseModel]]

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Name the model that `dg check yaml` holds the attributes to."""
        return cls.config_class

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        """Resolve templates such as ``{{ env.NAME }}`` in the attributes, and hold them to the model once more.

        Raises:
            ConfigError: a resolved attribute is not what the model asks for.
        """
        assert attributes is not None
        written: Mapping[str, Any] = attributes.model_dump(mode="json", exclude_unset=True)
        if "{{" in str(written):  # compiling what is no template takes as long
            written = context.resolution_context.resolve_value(written)
        try:
            return cls(cls.config_class.model_validate(written))  # type: ignore[arg-type]
        except ValidationError as error:
            raise ConfigError(f"{_path(context)}: {error.errors()[0]['msg']}") from error


def all_of(kind: type[ComponentT], context: dg.ComponentLoadContext) -> Sequence[ComponentT]:
    """Return all components of a kind; Dagster itself looks through all files at each question."""
    known: dict[type, Sequence[Any]] = vars(context.component_tree).setdefault("forge_components", {})
    if kind not in known:
        known[kind] = context.component_tree.get_all_components(kind)
    return known[kind]


def require_names(
    wanted: Iterable[str], component: type[YamlComponent[Any]], what: str, context: dg.ComponentLoadContext
) -> None:
    """Hold names in one component's YAML to the components that there are.

    Raises:
        ConfigError: a name that no component has; the message says where, and which there are.
    """
    known = sorted(found.config.name for found in all_of(component, context))
    for name in wanted:
        if name not in known:
            there_are = f"there are {', '.join(known)}" if known else "there is none"
            raise ConfigError(f"{_path(context)}: unknown {what} {name}; {there_are}")


@contextmanager
def named_file(context: dg.ComponentLoadContext) -> Iterator[None]:
    """Put the YAML's path before what a check of it says.

    Raises:
        ConfigError: the check's sentence, after the path.
    """
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{_path(context)}: {error}") from error


def _path(context: dg.ComponentLoadContext) -> Path:
    return Path(context.path) / "defs.yaml" if Path(context.path).is_dir() else Path(context.path)


class TemplateScaffolder(Scaffolder[Any]):
    """Writes a ``defs.yaml`` from a template in which two fields wait to be filled in; the folder gives the name."""

    template: ClassVar[str]

    def scaffold(self, request: ScaffoldRequest[Any]) -> None:
        """Write the file that ``dg scaffold defs`` was asked for."""
        text = f"type: {request.type_name}\n\nattributes:\n" + self.template.replace("NAME", request.target_path.name)
        (request.target_path / "defs.yaml").write_text(text)
