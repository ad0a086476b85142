"""The stage `base_model`: an open model in, its weights as bf16 safetensors with tokenizer and provenance out."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from forge_pipelines import processes
from forge_pipelines.bases.config import BaseConfig
from forge_pipelines.bases.hub import download, looks_like_a_hub_name
from forge_pipelines.bases.job import Converted, ImportJob, from_line
from forge_pipelines.bases.place import Handed, look_at
from forge_pipelines.channel import Refused
from forge_pipelines.errors import DataError, PlatformError
from forge_pipelines.manifest import Manifest, StageRequest, code_version, digest
from forge_pipelines.progress import OnProgress, Progress, silent
from forge_pipelines.store import Made, Publication, Store

KIND = "base_model"
CODE_VERSION = "1"
PROVENANCE = "provenance.json"
ROLE = "base:"
"""What stands before a base's name among the inputs of what was made from it."""

_ENVIRONMENT = {**processes.NOTHING_LEAVES, **processes.NO_GPU}


def import_base(config: BaseConfig, store: Store, log: Path, on_progress: OnProgress = silent) -> Publication:
    """Bring an open model in: check it, rewrite its weights as bf16 safetensors, and publish it with its provenance.

    A hub is only reached when the place is a hub's name; nothing else in Forge ever reaches one.

    Args:
        config: where it is, what it is called, and its labels.
        store: takes the result.
        log: file that the converting process's standard error is appended to.
        on_progress: told what is being done.

    Raises:
        DataError: there is no such model, or it is refused; nothing is published.
        PlatformError: the hub cannot be reached, or the converting process was killed.
    """
    with ExitStack() as stack:
        path = Path(config.place).expanduser()
        if not path.exists() and looks_like_a_hub_name(config.place):
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="forge-hub-")))
            on_progress(Progress(f"{config.name}: fetching {config.place}"))
            path = download(config.place, config.revision, folder)
        on_progress(Progress(f"{config.name}: hashing"))
        handed = look_at(path)
        request = _request(config, handed)
        return store.obtain(request, _Maker(config, handed, request, store, log, on_progress))


def latest_base(name: str, store: Store) -> Manifest:
    """Return the base that was last brought in under a name.

    Raises:
        DataError: none was.
    """
    if not any(store.manifests(name, KIND)):
        known = ", ".join(sorted({base.name for base in store.manifests(kind=KIND)})) or "none yet"
        message = f"no base is named {name} in {store.address} (there are: {known})"
        raise DataError(f"{message}; bring it in with `forge import-base {name} PLACE`")
    return store.latest(name, KIND)


def base_of(manifest: Manifest, store: Store) -> Manifest | None:
    """Return the base that something was made from, or None where it was made from none.

    Raises:
        DataError: it is no longer in the store.
    """
    for role, fingerprint in manifest.inputs.items():
        if role.startswith(ROLE):
            return store.published(role.removeprefix(ROLE), KIND, fingerprint)
    return None


def _request(config: BaseConfig, handed: Handed) -> StageRequest:
    return StageRequest(
        kind=KIND,
        name=config.name,
        inputs={"files": digest([(entry.path, entry.sha256) for entry in handed.files])},
        parameters={
            "labels": {"licence": config.licence, "classification": config.classification.value},
            "origin": config.origin or config.place,
        },
        code_version=code_version(CODE_VERSION, "transformers", "gguf"),
    )


@dataclass(frozen=True, slots=True)
class _Maker:
    """One import at work."""

    config: BaseConfig
    handed: Handed
    request: StageRequest
    store: Store
    log: Path
    on_progress: OnProgress

    def __call__(self, folder: Path) -> Made:
        self.on_progress(Progress(f"{self.config.name}: converting {self.handed.path.name}"))
        workspace = self.store.workspace(self.request)
        try:
            converted = self._convert(folder, workspace)
        finally:
            shutil.rmtree(workspace)
        self._write_provenance(folder, converted)
        counts = converted.model_dump(exclude={"kind"})
        return Made(counts=counts, classification=self.config.classification)

    def _convert(self, folder: Path, workspace: Path) -> Converted:
        job_path = workspace / "job.json"
        job = ImportJob(
            form=self.handed.form,
            path=self.handed.path.absolute(),
            architecture=self.handed.architecture,
            output=folder.absolute(),
            parent_pid=os.getpid(),
        )
        job_path.write_text(job.model_dump_json())
        said: list[Converted | Refused] = []
        command = [sys.executable, "-m", "forge_pipelines.bases.worker", str(job_path)]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        code = processes.run(command, lambda line: said.append(from_line(line)), environment=_ENVIRONMENT, log=self.log)
        for end in said:
            if isinstance(end, Refused):
                raise DataError(f"{self.handed.path} cannot be brought in: {end.message}")
            return end
        raise PlatformError(
            f"the process that converts {self.handed.path} ended with exit code {code}; its log {self.log} says why"
        )

    def _write_provenance(self, folder: Path, converted: Converted) -> None:
        provenance: Mapping[str, Any] = {
            "origin": self.request.parameters["origin"],
            "licence": self.config.licence,
            "form": converted.form,
            "weights": converted.weights,
            "files": [entry.model_dump() for entry in self.handed.files],
            "imported_with": self.request.code_version,
        }
        (folder / PROVENANCE).write_text(json.dumps(provenance, indent=2) + "\n")
