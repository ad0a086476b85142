"""Checkpoint files, hashed and sent to the disk while DeepSpeed writes them, over those of a retired checkpoint.

Training waits for the slowest of the three, and not for one after the other.
"""

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

import torch
from deepspeed.runtime.checkpoint_engine.torch_checkpoint_engine import TorchCheckpointEngine

_PIECE_BYTES = 16 << 20
_SMALL_BYTES = 1 << 16
_written: dict[Path, str] = {}


def hash_while_saving(spare: Path) -> None:
    """Have DeepSpeed write its files through `HashedFile`, and remember their hashes for `hashes_below`.

    torch's own checksums, which nothing reads, are left out.

    Args:
        spare: the folder of a retired checkpoint, which may not exist: files of the same names are written over.
    """

    def save(engine: TorchCheckpointEngine, state_dict: Any, path: str) -> None:
        _take_over(spare, Path(path))
        with HashedFile(Path(path)) as file:
            torch.save(state_dict, cast(IO[bytes], file), _use_new_zipfile_serialization=engine.zipfile_serialization)
        _written[Path(path)] = file.sha256

    TorchCheckpointEngine.save = save
    torch.serialization.set_crc32_options(False)


def hashes_below(folder: Path) -> Mapping[str, str]:
    """Return the SHA-256 of each file below a folder that DeepSpeed wrote in this process, by its path in the folder.

    They are forgotten with that.
    """
    found = {path: _written.pop(path) for path in list(_written) if path.is_relative_to(folder)}
    return {path.relative_to(folder).as_posix(): sha256 for path, sha256 in found.items()}


class HashedFile:
    """A file that is hashed while it is written, over what it held, and on the disk when it is closed."""

    def __init__(self, path: Path) -> None:
        self._hash, self._end = hashlib.sha256(), 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        self._hasher = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._hasher.shutdown()
        try:
            if error is None:
                os.ftruncate(self._file, self._end)
                os.fsync(self._file)
        finally:
            os.close(self._file)

    @property
    def sha256(self) -> str:
        """The hash of all that was written, 64 hexadecimal digits."""
        return self._hash.hexdigest()

    def write(self, content: bytes | memoryview) -> int:
        """Write bytes, which may change as soon as this returns.

        Raises:
            OSError: the disk is full, or broken.
        """
        whole = memoryview(content).cast("B")
        pieces = [whole[start : start + _PIECE_BYTES] for start in range(0, len(whole), _PIECE_BYTES)]
        if len(whole) < _SMALL_BYTES:
            self._hash.update(whole)
            hashing: list[Future[None]] = []
        else:
            hashing = [self._hasher.submit(self._hash.update, piece) for piece in pieces]
        for piece in pieces:
            self._write(piece)
        for each in hashing:
            each.result()
        return len(whole)

    def flush(self) -> None:
        """Do nothing: what is written is with the kernel."""

    def _write(self, piece: memoryview) -> None:
        written = 0
        while written < len(piece):
            written += os.write(self._file, piece[written:])
        # The kernel begins to send it to the disk now, not at the end; nobody is going to read it soon.
        os.posix_fadvise(self._file, self._end, written, os.POSIX_FADV_DONTNEED)
        self._end += written


def _take_over(spare: Path, path: Path) -> None:
    """Move a spare file of the same name to where one is about to be written."""
    for old in spare.rglob(path.name):
        # What has a second name is a published checkpoint's, too.
        if old.stat().st_nlink == 1:
            old.rename(path)
            return
