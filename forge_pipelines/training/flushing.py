"""A checkpoint's files, forced to the disk and hashed."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from forge_pipelines.manifest import FileEntry
from forge_pipelines.staging import sync
from forge_pipelines.store import hash_file

_THREADS = 16


def flushed(folder: Path, known: Mapping[str, str]) -> tuple[FileEntry, ...]:
    """Return every file below a folder with its hash, in sorted order; all of it is on the disk then.

    Disk and processor work at once: training waits for both.

    Args:
        folder: the checkpoint's.
        known: the SHA-256 of files that were hashed when they were written, by their paths in the folder.

    Raises:
        OSError: the disk is full, or broken.
    """
    everything = sorted(folder.rglob("*"))
    paths = {path.relative_to(folder).as_posix(): path for path in everything if path.is_file()}
    with ThreadPoolExecutor(_THREADS) as pool:
        syncing = [pool.submit(sync, path) for path in [*everything, folder]]
        hashing = {name: pool.submit(hash_file, path) for name, path in paths.items() if name not in known}
        for each in syncing:
            each.result()
    hashes = {**known, **{name: each.result() for name, each in hashing.items()}}
    return tuple(
        FileEntry(path=name, num_bytes=path.stat().st_size, sha256=hashes[name]) for name, path in paths.items()
    )
