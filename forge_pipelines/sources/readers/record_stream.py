"""A data set's bytes from the beginning, unpacked on the way: read by the piece, however large the file is."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers.reading import Content
from forge_pipelines.sources.readers.unpacking import is_packed, most_unpacked_bytes, unpack

HEAD_BYTES = 64 << 10
LONGEST_BYTES = 64 << 20
"""What one record may be long, as it stands in its file."""

_START_BYTES = 16
_MOST_TIMES = 20
_LARGEST_HELD_BYTES = 256 << 20
_UNPACKERS: tuple[tuple[bytes, str, Callable[[IO[bytes]], io.BufferedIOBase]], ...] = (
    (b"\x1f\x8b", "gzip", lambda file: gzip.GzipFile(fileobj=file)),
    (b"BZ", "bzip2", bz2.BZ2File),
    (b"\xfd7", "xz", lzma.LZMAFile),
)
"""How what `is_packed` begins, its name, and what unpacks it by the piece."""


def open_stream(content: Content) -> IO[bytes]:
    """Open a file for reading; gzip, bzip2 and xz data is unpacked as it is read, to 20 times its size at most.

    Reading raises `ItemError` where the packed data is damaged, ends too soon, or would become larger.
    """
    file: IO[bytes] = io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
    start = file.read(_START_BYTES)
    file.seek(0)
    return io.BufferedReader(_Unpacking(file, start, _num_bytes(content)), HEAD_BYTES) if is_packed(start) else file


def head_of(content: Content) -> bytes:
    """Return the first 64 KiB, unpacked.

    Raises:
        ItemError: they are packed and damaged, or packed once more.
    """
    with open_stream(content) as file:
        head = file.read(HEAD_BYTES)
        if is_packed(head):
            raise ItemError("bomb", "is packed data within packed data; unpack it beforehand")
        return head


def unpacked(content: Content) -> Content:
    """Return the file in a form whose parts can be looked up: what is packed is unpacked and held.

    Raises:
        ItemError: it is packed, and damaged or too large to be held.
    """
    if isinstance(content, bytes):
        return unpack(content) if is_packed(content[:_START_BYTES]) else content
    with content.open("rb") as file:
        start = file.read(_START_BYTES)
    return unpack(held(content)) if is_packed(start) else content


def held(content: Content) -> bytes:
    """Return the bytes of a file whose format cannot be read by the piece.

    Raises:
        ItemError: it is larger than 256 MiB.
    """
    if isinstance(content, bytes):
        return content
    if _num_bytes(content) > _LARGEST_HELD_BYTES:
        limit = _LARGEST_HELD_BYTES
        raise ItemError("too_large", f"has more than {limit:,} bytes, too many for this format; save it as Parquet")
    return content.read_bytes()


def _num_bytes(content: Content) -> int:
    return content.stat().st_size if isinstance(content, Path) else len(content)


class _Unpacking(io.RawIOBase):
    def __init__(self, packed: IO[bytes], start: bytes, num_bytes: int) -> None:
        self._packed = packed
        self._name, unpacker = next((name, unpacker) for mark, name, unpacker in _UNPACKERS if start.startswith(mark))
        self._unpacked = unpacker(packed)
        self._num_packed_bytes = num_bytes
        self._limit = max(_MOST_TIMES * num_bytes, most_unpacked_bytes(num_bytes))
        self._num_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._piece(len(buffer))
        self._num_bytes += len(piece)
        if self._num_bytes > self._limit:
            sizes = f"more than {self._limit:,} bytes, from {self._num_packed_bytes:,}"
            raise ItemError("bomb", f"would unpack to {sizes}; unpack it beforehand")
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._packed.close()
        super().close()

    def _piece(self, num_bytes: int) -> bytes:
        try:
            return self._unpacked.read(num_bytes)
        except EOFError as error:
            raise ItemError("damaged", f"is {self._name} data that ends too soon; copy it again") from error
        except (OSError, zlib.error, lzma.LZMAError) as error:
            raise ItemError("damaged", f"is damaged {self._name} data: {error}") from error
