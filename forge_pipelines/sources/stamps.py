"""Which contents were found under which stamps: what still looks as it did is not fetched and hashed again."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from forge_pipelines.columns import table_of
from forge_pipelines.sources.place import Item

_KEY_BYTES = 16
_HASH_BYTES = 32
_SIZE_BYTES = 8
_SCHEMA = pa.schema([("key", pa.binary(_KEY_BYTES)), ("seen", pa.binary(_HASH_BYTES + _SIZE_BYTES))])
_SETTLED = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a content was: its SHA-256, and its size in bytes."""

    sha256: str
    num_bytes: int


class Stamps:
    """What items' contents were, by their place, path and stamp.

    Args:
        file: where they are kept from one listing to the next.
        address: of the place: what was seen elsewhere says nothing of it.
    """

    def __init__(self, file: Path, address: str) -> None:
        self._file = file
        self._address = address
        self._before = _read(file)
        self._now: dict[bytes, bytes] = {}
        # What was changed a moment before it was looked at may be changed once more at the same moment.
        self._settled_before = (datetime.now(UTC) - _SETTLED).isoformat(timespec="seconds")

    def known(self, item: Item) -> Seen | None:
        """Return what was seen of an item under the stamp that it has."""
        if not item.stamp or (found := self._before.get(key := self._key(item))) is None:
            return None
        self._now[key] = found
        return Seen(found[:_HASH_BYTES].hex(), int.from_bytes(found[_HASH_BYTES:]))

    def remember(self, item: Item, seen: Seen) -> None:
        """Note what an item's content is, if it has been at rest."""
        if item.stamp and (item.modified_at is None or item.modified_at < self._settled_before):
            self._now[self._key(item)] = bytes.fromhex(seen.sha256) + seen.num_bytes.to_bytes(_SIZE_BYTES)

    def save(self) -> None:
        """Keep what was known or noted since the beginning, and nothing else.

        Raises:
            OSError: the disk is full; what was kept before stays.
        """
        if self._now == self._before:
            return
        part = self._file.with_suffix(".part")
        rows = [{"key": key, "seen": seen} for key, seen in self._now.items()]
        pq.write_table(table_of(rows, _SCHEMA), part, write_statistics=False)
        part.replace(self._file)

    def _key(self, item: Item) -> bytes:
        seen = "\0".join([self._address, item.path, item.stamp])
        return hashlib.blake2b(seen.encode("utf-8", "surrogateescape"), digest_size=_KEY_BYTES).digest()


def _read(file: Path) -> dict[bytes, bytes]:
    if not file.exists():
        return {}
    try:
        with pq.ParquetFile(file) as stamps:
            table = stamps.read()
    except (pa.ArrowInvalid, OSError):  # torn by a fault of the machine: all is looked at anew
        return {}
    return dict(zip(table.column("key").to_pylist(), table.column("seen").to_pylist(), strict=True))
