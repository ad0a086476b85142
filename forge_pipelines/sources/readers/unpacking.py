"""How much a compressed file may become, and gzip: nothing is unpacked beyond that, whatever the file declares."""

import zlib

from forge_pipelines.sources.place import ItemError

_ALWAYS_BYTES = 64 << 20
_NEVER_BYTES = 256 << 20
_MOST_TIMES = 20
_GZIP = b"\x1f\x8b\x08"


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


def is_gzip(head: bytes) -> bool:
    """Tell whether this is the beginning of gzip data."""
    return head.startswith(_GZIP)


def gunzip(content: bytes) -> bytes:
    """Return what gzip packed: one member or several.

    Raises:
        ItemError: it would become too large, is damaged, or ends too soon.
    """
    limit = most_unpacked_bytes(len(content))
    unpacked = bytearray()
    rest = content
    while is_gzip(rest):
        member = zlib.decompressobj(wbits=31)
        try:
            unpacked += member.decompress(rest, limit - len(unpacked) + 1)
        except zlib.error as error:
            raise ItemError("damaged", f"is damaged gzip data: {error}") from error
        refuse_bomb(len(content), len(unpacked))
        if not member.eof:
            raise ItemError("damaged", "is gzip data that ends too soon; copy it again")
        rest = member.unused_data
    return bytes(unpacked)
