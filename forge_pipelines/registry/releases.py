"""Which version of a model an alias names, and its weights, handed out only when every hash and every gate holds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forge_pipelines.errors import ConfigError, DataError, GateRefusal
from forge_pipelines.evaluation.reading import read_report
from forge_pipelines.manifest import Manifest
from forge_pipelines.registry.gates import judge, parse_gate
from forge_pipelines.registry.tracking import Tracking
from forge_pipelines.registry.versions import REPORT_TAG, TAGS
from forge_pipelines.store import Store
from forge_pipelines.training.kept import model_alone

CHAMPION, CANDIDATE = "champion", "candidate"
_CHECKPOINT_TAG = f"{TAGS}checkpoint"
_TARGET = re.compile(r"(?P<model>[a-z][a-z0-9_]*)(@(?P<alias>[a-zA-Z_][\w-]*))?")


@dataclass(frozen=True, slots=True)
class Release:
    """A version whose files matched their hashes, and whose report passed its gates, just now.

    Attributes:
        folder: local folder of the checkpoint's files.
    """

    model: str
    version: int
    alias: str
    checkpoint: Manifest
    folder: Path


def read_target(text: str) -> tuple[str, str | None]:
    """Read ``model`` or ``model@alias``.

    Raises:
        ConfigError: the text has another form.
    """
    match = _TARGET.fullmatch(text)
    if match is None:
        raise ConfigError(f"«{text}» names no model; write MODEL or MODEL@ALIAS, for example tiny@champion")
    return match["model"], match["alias"]


class Releases:
    """The versions that one alias of one model names, over time.

    Args:
        tracking: MLflow.
        store: holds the reports and the weights.
        model: the registered model's name.
        alias: the alias to follow; by default the champion where the model has one now, otherwise the candidate.

    Raises:
        ConfigError: there is no such model, or it has no such alias.
        PlatformError: MLflow cannot be reached.
    """

    def __init__(self, tracking: Tracking, store: Store, model: str, alias: str | None = None) -> None:
        self._tracking = tracking
        self._store = store
        self.model = model
        self.alias = alias or (CHAMPION if CHAMPION in self._aliases() else CANDIDATE)
        self.version()

    def version(self) -> int:
        """Return the number of the version that the alias names now.

        Raises:
            ConfigError: the model or the alias is gone.
            PlatformError: MLflow cannot be reached.
        """
        aliases = self._aliases()
        if self.alias in aliases:
            return aliases[self.alias]
        there = ", ".join(f"@{alias} (version {version})" for alias, version in sorted(aliases.items()))
        remedy = f"it has {there}" if there else f"it has none: make a version with `forge run {self.model}`"
        raise ConfigError(f"the model {self.model} has no alias @{self.alias}; {remedy}")

    def verified(self, version: int) -> Release:
        """Return a version, its report and weights read against their hashes and its gates judged again.

        Raises:
            DataError: a file is damaged or missing, or the version was not registered by Forge.
            GateRefusal: the report does not pass the gates that it was registered with.
            PlatformError: MLflow or the store cannot be reached.
        """
        title = f"{self.model} version {version}"
        tags = self._tracking.ask("get_model_version", self.model, str(version)).tags
        if REPORT_TAG not in tags:
            raise DataError(
                f"{title} was not registered by Forge and is not served; use a version that `forge run` made"
            )
        report = self._store.published(self.model, "evaluation_report", tags[REPORT_TAG])
        checkpoint = self._store.published(self.model, "trained_checkpoint", report.inputs["checkpoint"])
        if tags.get(_CHECKPOINT_TAG) != checkpoint.fingerprint:
            raise DataError(f"the tags of {title} in MLflow name another checkpoint than its report; register it again")
        self._judge_again(title, report)
        folder = self._store.open(model_alone(checkpoint)).absolute()
        return Release(self.model, version, self.alias, checkpoint, folder)

    def _aliases(self) -> Mapping[str, int]:
        found = self._tracking.ask("get_registered_model", self.model, unless="RESOURCE_DOES_NOT_EXIST")
        if found is None:
            raise ConfigError(f"no model is registered as {self.model}; {self._what_there_is()}")
        return {alias: int(version) for alias, version in found.aliases.items()}

    def _what_there_is(self) -> str:
        names: list[Any] = [model.name for model in self._tracking.ask("search_registered_models", max_results=20)]
        return f"there are {', '.join(names)}" if names else "there is none yet: make one with `forge run`"

    def _judge_again(self, title: str, report: Manifest) -> None:
        registered = [
            manifest
            for manifest in self._store.manifests(self.model, "registered_model")
            if manifest.inputs["report"] == report.fingerprint
        ]
        if not registered:
            raise DataError(
                f"{title} stands in MLflow, but {self._store.address} does not hold its registration; "
                "restore it from backup or register it again"
            )
        gates = dict.fromkeys(gate for manifest in registered for gate in manifest.parameters["gates"])
        measured = read_report(self._store.open(report))
        failed = [verdict for verdict in judge(map(parse_gate, gates), measured) if not verdict.passed]
        if failed:
            reasons = "; ".join(f"gate «{verdict.gate}»: {verdict.sentence}" for verdict in failed)
            raise GateRefusal(f"{title} is not served: {reasons}")
