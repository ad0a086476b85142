"""The artifact store: publish atomically, verify before reading. The only owner of stage files."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from forge_pipelines.errors import DataError
from forge_pipelines.manifest import Classification, FileEntry, Manifest, StageRequest
from forge_pipelines.places import MANIFEST, Place, Remnant, open_place
from forge_pipelines.staging import full_disk_named

_LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Made:
    """What a stage says of the files that it wrote into its staging folder."""

    counts: Mapping[str, Any]
    classification: Classification
    measured: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Publication:
    """A manifest, and whether it was made just now (``fresh``) or stood there already; ``seconds`` of this call."""

    manifest: Manifest
    fresh: bool
    seconds: float


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_files(folder: Path) -> tuple[FileEntry, ...]:
    """Hash every file below a folder, in sorted order; a manifest itself is left out."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return tuple(
        FileEntry(path=path.relative_to(folder).as_posix(), num_bytes=path.stat().st_size, sha256=hash_file(path))
        for path in paths
    )


def find_damage(folder: Path, files: tuple[FileEntry, ...], address: str | None = None) -> list[str]:
    """Compare files with what was published; return a sentence for each that is missing or changed.

    Args:
        folder: where the files are.
        files: what they must be.
        address: how the sentences call the folder, when it is a copy of something elsewhere.
    """
    damage = []
    for entry in files:
        path, name = folder / entry.path, f"{address or folder}/{entry.path}"
        if not path.is_file():
            damage.append(f"{name} is missing")
        elif path.stat().st_size != entry.num_bytes:
            damage.append(f"{name} has {path.stat().st_size} bytes instead of {entry.num_bytes}")
        elif hash_file(path) != entry.sha256:
            damage.append(f"{name} does not match its SHA-256 {entry.sha256[:12]}…")
    return damage


class Store:
    """Published stages under one root, each found by what was asked for.

    Args:
        address: a folder, or an fsspec URL such as ``s3://bucket/prefix``.
        scratch: a local folder for unpublished work and for copies of remote files.
    """

    def __init__(self, address: str, scratch: Path) -> None:
        self._place: Place = open_place(address, scratch / "cache")
        self._scratch = scratch

    @property
    def address(self) -> str:
        """Where the store is."""
        return self._place.address

    def find(self, request: StageRequest) -> Manifest | None:
        """Return what was published for a request, or None."""
        return self._read_manifest(f"{request.name}/{request.kind}/{request.key}")

    def obtain(self, request: StageRequest, make: Callable[[Path], Made]) -> Publication:
        """Return what was published for a request, or have it made and publish it in one step.

        Args:
            request: what is wanted.
            make: writes the stage's files into the folder that it is given, and says what they are.

        Raises:
            PlatformError: the disk is full, or the place cannot be written or reached.
        """
        started = time.monotonic()
        manifest, fresh = self.find(request), False
        with self._full_disk_named(f"{request.name}/{request.kind}"):
            if manifest is None:
                manifest, fresh = self._publish(request, make)
            self._point(manifest)
            if not fresh and self.find(request) is None:  # it was old, and removed while it was asked for again
                manifest, fresh = self._publish(request, make)
                self._point(manifest)
        return Publication(manifest, fresh=fresh, seconds=time.monotonic() - started)

    def latest(self, name: str, kind: str) -> Manifest:
        """Return the manifest that a stage was last asked for.

        Raises:
            DataError: the stage was never published.
        """
        pointer = self._place.read(f"{name}/{kind}/{_LATEST}")
        if pointer is None:
            raise DataError(f"{name}/{kind} was never made in {self.address}; materialize it first")
        return self._require(f"{name}/{kind}/{pointer.decode(errors='replace').strip()}")

    def published(self, name: str, kind: str, fingerprint: str) -> Manifest:
        """Return the manifest of a stage that something was made from, by its fingerprint.

        Raises:
            DataError: it is not in the store.
        """
        for manifest in self.manifests(name, kind):
            if manifest.fingerprint == fingerprint:
                return manifest
        title = f"{name}/{kind} {fingerprint[:12]}"
        raise DataError(f"{title} is not in {self.address}; restore it from backup, or make it and what follows anew")

    def manifests(self, name: str = "*", kind: str = "*") -> Iterator[Manifest]:
        """Yield every published manifest of the given name and kind; what is removed meanwhile is passed over."""
        for target in self._place.targets(f"{name}/{kind}/*"):
            if manifest := self._read_manifest(target):
                yield manifest

    def audit(self, name: str = "*") -> Iterator[tuple[str, list[str]]]:
        """Hash everything published under a name; yield each place, and what does not hold there."""
        for target in self._place.targets(f"{name}/*/*"):
            try:
                manifest = self._read_manifest(target)
                damage = self.damage(manifest) if manifest else []
            except DataError as error:
                damage = [str(error)]
            if self._place.read(f"{target}/{MANIFEST}") is not None:  # else it was removed meanwhile
                yield target, damage

    def open(self, manifest: Manifest) -> Path:
        """Return a local folder with a published stage's files, each one verified just now.

        Raises:
            DataError: a file is missing or does not match its hash; the message names it.
        """
        folder, damage = self._inspect(manifest)
        if damage:
            title = f"{manifest.name}/{manifest.kind} {manifest.fingerprint[:12]}"
            raise DataError(f"{title} is damaged: {'; '.join(damage)}; restore it from backup or remove its folder")
        return folder

    def damage(self, manifest: Manifest) -> list[str]:
        """Hash every file of a published stage; return a sentence for each that does not hold."""
        return self._inspect(manifest)[1]

    def address_of(self, manifest: Manifest) -> str:
        """Return where the files of a published stage stand, as a path or URL."""
        return self._place.files_address(self._target(manifest), manifest.fingerprint)

    def stages(self) -> set[str]:
        """Return every ``<name>/<kind>`` of which something is published."""
        return {target.rpartition("/")[0] for target in self._place.targets("*/*/*")}

    def pointers(self, stages: Iterable[str]) -> Mapping[str, str]:
        """Return the key that was last asked for of each ``<name>/<kind>`` that was, without reading a manifest."""
        found = self._place.read_all([f"{stage}/{_LATEST}" for stage in stages])
        return {path.removesuffix(f"/{_LATEST}"): key.decode(errors="replace").strip() for path, key in found.items()}

    def remove(self, manifest: Manifest) -> bool:
        """Remove a published stage in one step, and then its files; a reader finds all of it or nothing.

        Returns:
            False when it was gone already, or is the latest of its name and kind: then it stays.
        """
        target, pointer = self._target(manifest), f"{manifest.name}/{manifest.kind}/{_LATEST}"

        def is_latest() -> bool:
            return self._place.read(pointer) == manifest.key.encode()

        return not is_latest() and self._place.remove(target, manifest.fingerprint, unless=is_latest)

    def remnants(self) -> Iterator[Remnant]:
        """Yield what publications and removals that were killed left behind: files without a manifest."""
        return self._place.remnants()

    def clear(self, remnant: Remnant) -> None:
        """Remove the files of a remnant that is old enough to be nobody's work."""
        self._place.clear(remnant)

    @property
    def work(self) -> Path:
        """The local folder of all workspaces, each at ``<name>/<kind>/<key>``."""
        return self._scratch / "work"

    @property
    def copies(self) -> Path:
        """The local folder of copies of remote files, each at ``<name>/<kind>/<key>/<fingerprint>``."""
        return self._scratch / "cache"

    def workspace(self, request: StageRequest) -> Path:
        """Return a local folder for unfinished work on a request, the same one at every call until it is removed."""
        folder = self.work / request.name / request.kind / request.key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def memory(self, name: str, kind: str) -> Path:
        """Return a local folder for what a stage remembers from one run to the next, and could find out again."""
        folder = self.work / name / kind / "memory"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _publish(self, request: StageRequest, make: Callable[[Path], Made]) -> tuple[Manifest, bool]:
        started = time.monotonic()
        with self._place.staging() as staging:
            made = make(staging)
            manifest = self._seal(request, staging, made, time.monotonic() - started)
            target = self._target(manifest)
            fresh = self._place.commit(staging, target, _to_json(manifest), manifest.fingerprint)
        return (manifest if fresh else self._require(target)), fresh

    def _full_disk_named(self, title: str) -> AbstractContextManager[None]:
        return full_disk_named(title, self._place.staging_root.parent)

    def _inspect(self, manifest: Manifest) -> tuple[Path, list[str]]:
        target, paths = self._target(manifest), [entry.path for entry in manifest.files]
        address = self.address_of(manifest)
        with self._full_disk_named(f"{manifest.name}/{manifest.kind}"):
            folder = self._place.local(target, manifest.fingerprint, paths)
        damage = find_damage(folder, manifest.files, address)
        if damage and self._place.forget(target, manifest.fingerprint):
            folder = self._place.local(target, manifest.fingerprint, paths)
            damage = find_damage(folder, manifest.files, address)
        return folder, damage

    def _seal(self, request: StageRequest, staging: Path, made: Made, seconds: float) -> Manifest:
        draft = Manifest(
            kind=request.kind,
            name=request.name,
            key=request.key,
            fingerprint="",
            inputs=request.inputs,
            parameters=request.parameters,
            code_version=request.code_version,
            files=list_files(staging),
            counts=made.counts,
            classification=made.classification,
            measured=made.measured,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            made_in_seconds=round(seconds, 3),
        )
        return draft.model_copy(update={"fingerprint": draft.computed_fingerprint()})

    def _target(self, manifest: Manifest) -> str:
        return f"{manifest.name}/{manifest.kind}/{manifest.key}"

    def _point(self, manifest: Manifest) -> None:
        pointer, key = f"{manifest.name}/{manifest.kind}/{_LATEST}", manifest.key.encode()
        if self._place.read(pointer) != key:
            self._place.write(pointer, key)

    def _require(self, target: str) -> Manifest:
        manifest = self._read_manifest(target)
        if manifest is None:
            raise DataError(f"{self.address}/{target} has no manifest; restore it from backup or remove its folder")
        return manifest

    def _read_manifest(self, target: str) -> Manifest | None:
        content = self._place.read(f"{target}/{MANIFEST}")
        if content is None:
            return None
        where = f"{self.address}/{target}/{MANIFEST}"
        try:
            manifest = Manifest.model_validate_json(content)
        except ValidationError as error:
            raise DataError(f"{where} is damaged and cannot be read; restore it from backup") from error
        if manifest.fingerprint != manifest.computed_fingerprint() or self._target(manifest) != target:
            raise DataError(f"{where} does not match its own fingerprint or place; restore it from backup")
        return manifest


def _to_json(manifest: Manifest) -> bytes:
    return (json.dumps(manifest.model_dump(mode="json"), indent=2, sort_keys=True) + "\n").encode()
