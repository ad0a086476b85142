"""How much a packed file may become, and gzip, bzip2 and xz: nothing is unpacked beyond that, whatever it declares."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Protocol

from forge_pipelines.sources.place import ItemError

_ALWAYS_BYTES = 64 << 20
_NEVER_BYTES = 256 << 20
_MOST_TIMES = 20
_MOST_DICTIONARY_BYTES = 256 << 20


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


_KINDS: tuple[tuple[bytes, str, Callable[[], _Unpacker]], ...] = (
    (b"\x1f\x8b\x08", "gzip", lambda: zlib.decompressobj(wbits=31)),
    *((b"BZh%d1AY&SY" % size, "bzip2", bz2.BZ2Decompressor) for size in range(1, 10)),
    (b"\xfd7zXZ\0", "xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_DICTIONARY_BYTES)),
)
"""How packed data begins, its name, and what unpacks it."""


def most_unpacked_bytes(num_bytes: int) -> int:
    """Return what may come out of a file of this size: 20 times as much, but 64 MiB at least and 256 MiB at most."""
    return min(max(_MOST_TIMES * num_bytes, _ALWAYS_BYTES), _NEVER_BYTES)


def refuse_bomb(num_bytes: int, num_unpacked_bytes: int) -> None:
    """Refuse a file that would become too large.

    Raises:
        ItemError: it would.
    """
    limit = most_unpacked_bytes(num_bytes)
    if num_unpacked_bytes > limit:
        raise ItemError("bomb", f"would unpack to more than {limit:,} bytes, from {num_bytes:,}; unpack it beforehand")


def is_packed(head: bytes) -> bool:
    """Tell whether this is the beginning of gzip, bzip2 or xz data."""
    return any(head.startswith(start) for start, _, _ in _KINDS)


def unpack(content: bytes) -> bytes:
    """Return what was packed: one stream or several of the same kind.

    Raises:
        ItemError: it would become too large, is damaged, or ends too soon.
    """
    name, unpacker = next((name, unpacker) for start, name, unpacker in _KINDS if content.startswith(start))
    limit = most_unpacked_bytes(len(content))
    unpacked = bytearray()
    rest = content
    while any(rest.startswith(start) for start, kind, _ in _KINDS if kind == name):
        stream = unpacker()
        try:
            unpacked += stream.decompress(rest, limit - len(unpacked) + 1)
        except (zlib.error, lzma.LZMAError, OSError) as error:
            raise ItemError("damaged", f"is damaged {name} data: {error}") from error
        refuse_bomb(len(content), len(unpacked))
        if not stream.eof:
            raise ItemError("damaged", f"is {name} data that ends too soon; copy it again")
        rest = stream.unused_data.lstrip(b"\0")  # xz streams, and gzip on tapes, may be padded
    return bytes(unpacked)
