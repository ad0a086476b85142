"""Where a store's bytes stand: a folder, or an object store. The few operations that make publication atomic there.

A stage stands at ``<root>/<name>/<kind>/<key>/``: its files, and ``manifest.json``, which is written last. What
has no manifest does not exist. `FolderPlace` commits with one rename of a folder, `ObjectPlace` with one conditional
write (``If-None-Match: *``) of the manifest, after the files stand under a prefix that is named by their fingerprint.
"""

import errno
import json
import shutil
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from glob import glob
from pathlib import Path
from typing import Any, Protocol

from forge_pipelines.errors import PlatformError
from forge_pipelines.staging import FULL, staging_folder, sync, sync_folder

MANIFEST = "manifest.json"
_STAGING = ".staging"


@dataclass(frozen=True, slots=True)
class Remnant:
    """Files that belong to no publication: a killed upload's, or a killed removal's.

    Attributes:
        name: of the source, corpus, model or base that they were of.
        path: the folder that holds them.
        touched_at: when the last of them was written.
    """

    name: str
    path: str
    num_bytes: int
    touched_at: datetime


class Place(Protocol):
    """The operations a store needs of its storage. Paths are relative to the root, with ``/``."""

    address: str
    staging_root: Path

    def staging(self) -> AbstractContextManager[Path]:
        """Return a context manager that gives an empty local folder, and removes it whatever happens."""

    def commit(self, staging: Path, target: str, manifest: bytes, fingerprint: str) -> bool:
        """Publish a staging folder at ``target``; return False when another publication stands there already."""

    def read(self, path: str) -> bytes | None:
        """Return a small file's bytes, or None when it does not exist."""

    def write(self, path: str, content: bytes) -> None:
        """Replace a small file in one step."""

    def local(self, target: str, fingerprint: str, paths: Sequence[str]) -> Path:
        """Return a local folder with the files of a published stage; those that are not in the store are missing."""

    def forget(self, target: str, fingerprint: str) -> bool:
        """Drop a local copy of a published stage; return False where there is none, only the stage itself."""

    def files_address(self, target: str, fingerprint: str) -> str:
        """Return where the files of a published stage stand, as a path or URL."""

    def targets(self, pattern: str) -> Iterator[str]:
        """Yield every published ``<name>/<kind>/<key>`` that matches a glob pattern, in sorted order."""

    def read_all(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """Return the bytes of those small files that exist, by path."""

    def remove(self, target: str, fingerprint: str, unless: Callable[[], bool]) -> bool:
        """Make a publication vanish in one step, put it back where ``unless`` then says so, else remove its files.

        Whoever points at a publication and then still finds it keeps it: the pointer is looked at after the step.
        """

    def remnants(self) -> Iterator[Remnant]:
        """Yield files that no manifest stands beside."""

    def clear(self, remnant: Remnant) -> None:
        """Remove a remnant's files."""


class FolderPlace:
    """A store in a folder of a local or shared POSIX file system."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = str(root)
        self.staging_root = root / _STAGING

    def staging(self) -> AbstractContextManager[Path]:
        """See `Place.staging`: below the root, so that the rename stays within one file system."""
        return staging_folder(self.staging_root)

    def commit(self, staging: Path, target: str, manifest: bytes, fingerprint: str) -> bool:  # noqa: ARG002
        """See `Place.commit`."""
        (staging / MANIFEST).write_bytes(manifest)
        sync_folder(staging)
        final = self.root / target
        final.parent.mkdir(parents=True, exist_ok=True)
        if not _rename(staging, final):
            return False  # another publication stands there
        for folder in (final.parent, final.parent.parent, self.root):
            sync(folder)
        return True

    def read(self, path: str) -> bytes | None:
        """See `Place.read`."""
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, path: str, content: bytes) -> None:
        """See `Place.write`."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.staging() as folder:
            (folder / "file").write_bytes(content)
            sync_folder(folder)
            (folder / "file").replace(target)

    def local(self, target: str, fingerprint: str, paths: Sequence[str]) -> Path:  # noqa: ARG002 - they are here
        """See `Place.local`."""
        return self.root / target

    def forget(self, target: str, fingerprint: str) -> bool:  # noqa: ARG002 - there are no copies
        """See `Place.forget`."""
        return False

    def files_address(self, target: str, fingerprint: str) -> str:  # noqa: ARG002
        """See `Place.files_address`."""
        return f"{self.address}/{target}"

    def targets(self, pattern: str) -> Iterator[str]:
        """See `Place.targets`."""
        # Unlike Path.glob, this passes over hidden folders (staging comes and goes) and over what vanishes meanwhile.
        for path in sorted(glob(f"{pattern}/{MANIFEST}", root_dir=self.root)):  # noqa: PTH207
            yield path.removesuffix(f"/{MANIFEST}")

    def read_all(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """See `Place.read_all`."""
        contents = {path: self.read(path) for path in paths}
        return {path: content for path, content in contents.items() if content is not None}

    def remove(self, target: str, fingerprint: str, unless: Callable[[], bool]) -> bool:  # noqa: ARG002
        """See `Place.remove`: renamed into a staging folder, which goes now, or is swept when this is killed."""
        with self.staging() as staging:
            try:
                (self.root / target).rename(staging / "removed")
            except FileNotFoundError:  # another removed it
                return False
            return not (unless() and _rename(staging / "removed", self.root / target))

    def remnants(self) -> Iterator[Remnant]:
        """See `Place.remnants`: a folder comes and goes whole, and what is staged is swept by the next to stage."""
        return iter(())

    def clear(self, remnant: Remnant) -> None:
        """See `Place.clear`."""
        shutil.rmtree(self.root / remnant.path)


class ObjectPlace:
    """A store behind an fsspec address such as ``s3://bucket/prefix``, with a local cache of what was read.

    The file system must offer a conditional write (``mode="create"`` of fsspec's ``pipe_file``): s3fs does.
    """

    def __init__(self, address: str, cache: Path) -> None:
        import fsspec

        self.address = address.rstrip("/")
        self.staging_root = cache / _STAGING
        self._fs, self._root = fsspec.core.url_to_fs(address)
        self._cache = cache

    def staging(self) -> AbstractContextManager[Path]:
        """See `Place.staging`: a local folder of the cache."""
        return staging_folder(self.staging_root)

    def commit(self, staging: Path, target: str, manifest: bytes, fingerprint: str) -> bool:
        """See `Place.commit`. What publications that were killed on the way left behind is removed by the winner."""
        if self.read(f"{target}/{MANIFEST}") is not None:
            return False
        # Files are addressed by their manifest's fingerprint, so equal uploads are equal and others never meet.
        prefix = f"{self._root}/{target}/{fingerprint}"
        self._upload(staging, prefix, there=set())
        published = self._create_manifest(target, manifest)
        if published:  # a removal of the same that was still at work may have taken some
            self._upload(staging, prefix, there=self._files(prefix).keys())
        winner = json.loads(self.read(f"{target}/{MANIFEST}") or manifest)
        self._keep_only(target, winner["fingerprint"])
        return published

    def _upload(self, staging: Path, prefix: str, there: Container[str]) -> None:
        with self._explained():
            for path in sorted(path for path in staging.rglob("*") if path.is_file()):
                name = f"{prefix}/{path.relative_to(staging).as_posix()}"
                if name not in there:
                    self._fs.put_file(str(path), name)

    def _files(self, prefix: str) -> Mapping[str, Mapping[str, Any]]:
        with self._explained():
            self._fs.invalidate_cache()
            found: Mapping[str, Mapping[str, Any]] = self._fs.find(prefix, detail=True)
        return found

    def _create_manifest(self, target: str, manifest: bytes) -> bool:
        with self._explained():
            try:
                self._fs.pipe_file(f"{self._root}/{target}/{MANIFEST}", manifest, mode="create")
            except OSError:
                # It stands there already: services say so in several ways, and a retried write finds itself.
                if self.read(f"{target}/{MANIFEST}") is None:
                    raise
                return False
        return True

    def _keep_only(self, target: str, fingerprint: str) -> None:
        with self._explained():
            self._fs.invalidate_cache()
            for path in self._fs.ls(f"{self._root}/{target}", detail=False):
                if path.rpartition("/")[2] not in {MANIFEST, fingerprint}:
                    with suppress(FileNotFoundError):  # the one who left it may be removing it too
                        self._fs.rm(path, recursive=True)

    def read(self, path: str) -> bytes | None:
        """See `Place.read`."""
        with self._explained():
            try:
                content: bytes = self._fs.cat_file(f"{self._root}/{path}")
            except FileNotFoundError:
                return None
            return content

    def write(self, path: str, content: bytes) -> None:
        """See `Place.write`: a put replaces an object in one step."""
        with self._explained():
            self._fs.pipe_file(f"{self._root}/{path}", content)

    def local(self, target: str, fingerprint: str, paths: Sequence[str]) -> Path:
        """See `Place.local`: each file is downloaded once, told apart by fingerprint."""
        folder = self._cache / target / fingerprint
        absent = [path for path in paths if not (folder / path).is_file()]
        if folder.is_dir() and not absent:
            return folder
        with self.staging() as staging, self._explained():
            for path in absent:
                (staging / path).parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):
                    self._fs.get_file(f"{self._root}/{target}/{fingerprint}/{path}", str(staging / path))
            folder.parent.mkdir(parents=True, exist_ok=True)
            if not _rename(staging, folder):
                _move_files(staging, folder)
        return folder

    def forget(self, target: str, fingerprint: str) -> bool:
        """See `Place.forget`."""
        with self.staging() as staging, suppress(FileNotFoundError):
            (self._cache / target / fingerprint).rename(staging / "forgotten")
        return True

    def files_address(self, target: str, fingerprint: str) -> str:
        """See `Place.files_address`."""
        return f"{self.address}/{target}/{fingerprint}"

    def targets(self, pattern: str) -> Iterator[str]:
        """See `Place.targets`."""
        with self._explained():
            self._fs.invalidate_cache()
            paths = sorted(map(str, self._fs.glob(f"{self._root}/{pattern}/{MANIFEST}")))
        for path in paths:
            yield path[len(self._root) + 1 : -len(MANIFEST) - 1]

    def read_all(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """See `Place.read_all`: all at once."""
        places = {f"{self._root}/{path}": path for path in paths}
        with self._explained():
            found = self._fs.cat([*places], on_error="return") if places else {}
            for content in found.values():
                if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                    raise content
        return {places[place]: content for place, content in found.items() if isinstance(content, bytes)}

    def remove(self, target: str, fingerprint: str, unless: Callable[[], bool]) -> bool:
        """See `Place.remove`: the manifest goes first, in one request."""
        manifest = self.read(f"{target}/{MANIFEST}")
        if manifest is None:
            return False
        with self._explained():
            self._fs.rm_file(f"{self._root}/{target}/{MANIFEST}")
        if unless():
            self._create_manifest(target, manifest)
            return False
        self._remove_files(f"{target}/{fingerprint}")
        self.forget(target, fingerprint)
        return True

    def remnants(self) -> Iterator[Remnant]:
        """See `Place.remnants`."""
        found = self._files(self._root)
        files: dict[str, list[Mapping[str, Any]]] = {}
        for path, entry in found.items():
            *target, fingerprint, _ = path[len(self._root) + 1 :].split("/", 4)
            if len(target) == 3 and f"{self._root}/{'/'.join(target)}/{MANIFEST}" not in found:
                files.setdefault("/".join([*target, fingerprint]), []).append(entry)
        for path, entries in sorted(files.items()):
            touched_at = max(entry["LastModified"] for entry in entries).astimezone(UTC)
            yield Remnant(path.split("/")[0], path, sum(entry["size"] for entry in entries), touched_at)

    def clear(self, remnant: Remnant) -> None:
        """See `Place.clear`."""
        self._remove_files(remnant.path)

    def _remove_files(self, path: str) -> None:
        with self._explained(), suppress(FileNotFoundError):  # another removed them
            self._fs.invalidate_cache()
            self._fs.rm(f"{self._root}/{path}", recursive=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except PlatformError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            message = f"the object store {self.address} does not answer as it must ({type(error).__name__}: {error})"
            raise PlatformError(f"{message}; check its address, credentials and network") from error


def _rename(folder: Path, final: Path) -> bool:
    try:
        folder.rename(final)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _move_files(source: Path, target: Path) -> None:
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        final = target / path.relative_to(source)
        final.parent.mkdir(parents=True, exist_ok=True)
        path.replace(final)


def open_place(address: str, cache: Path) -> Place:
    """Return the place at an address: a path, or any fsspec URL. ``cache`` is a local folder for remote files."""
    if "://" in address and not address.startswith("file://"):
        return ObjectPlace(address, cache)
    return FolderPlace(Path(address.removeprefix("file://")).absolute())
