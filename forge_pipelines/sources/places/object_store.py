"""An object store as a place: S3, Google Cloud Storage or Azure; what its keys' prefix holds, in their order."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC
from functools import cached_property
from pathlib import Path

from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.sources.connections import Connection
from forge_pipelines.sources.place import Item, Refusal
from forge_pipelines.sources.places import s3_client
from forge_pipelines.sources.places.cloud import CloudObjects
from forge_pipelines.sources.places.config import ObjectStorePlace
from forge_pipelines.sources.places.globs import compile_globs
from forge_pipelines.sources.places.objects import Access, Found, Objects
from forge_pipelines.sources.places.patience import WAITS_SECONDS
from forge_pipelines.sources.places.s3 import S3Objects

_HIDDEN = re.compile(r"(?:.*?/)??\.[^/]*", re.DOTALL)


class ObjectStore:
    """The objects below an object store's prefix that match the patterns.

    What a name with a leading dot hides is skipped: each such file or folder counts as one.

    Args:
        config: which objects are meant.
        connection: what leads to the store; None for what this machine knows by itself.
        max_file_bytes: larger objects are refused without being fetched.
        waits_seconds: between the tries when the store does not answer.

    Raises:
        ConfigError: the connection is no object store's.
    """

    def __init__(
        self,
        config: ObjectStorePlace,
        connection: Connection | None,
        max_file_bytes: int,
        waits_seconds: tuple[float, ...] = WAITS_SECONDS,
    ) -> None:
        self._config, self._max_file_bytes, self._waits_seconds = config, max_file_bytes, waits_seconds
        self._options = {} if connection is None else connection.options
        self._include = compile_globs(config.include)
        self._exclude = compile_globs(config.exclude)
        self.address = config.url
        self.wanted = ", ".join(config.include)
        self.num_skipped_hidden = self.num_skipped_links = 0
        if connection is not None and connection.url is not None:
            named = f"the connection {config.connection}"
            raise ConfigError(f"{named} is a database's URL: name one with an object store's options for {config.url}")

    def expect(self) -> int | None:
        """See `Place.expect`: telling costs as much as listing."""
        return None

    def items(self) -> Iterator[Item]:
        """See `Place.items`: in the order of their keys.

        Raises:
            ConfigError: there is no such bucket, or it may not be reached or listed.
            DataError: the store lists its keys in no order.
            PlatformError: it does not answer, after some tries.
        """
        self.num_skipped_hidden = 0
        previous = hidden = ""
        for page in self._objects.pages():
            for found in page:
                if found.path <= previous and previous:
                    order = f"{found.path} after {previous}"
                    raise DataError(f"{self.address} lists {order}: a source needs a store that lists in their order")
                previous = found.path
                if match := _HIDDEN.match(found.path):
                    self.num_skipped_hidden += match[0] != hidden
                    hidden = match[0]
                elif self._is_meant(found.path):
                    yield self._item(found)

    def fetch(self, items: Sequence[Item]) -> Iterator[bytes | Path | Refusal]:
        """See `Place.fetch`: what changed since it was listed is a refusal.

        Raises:
            ConfigError: the credentials are accepted no longer.
            PlatformError: the store does not answer, after some tries.
        """
        if items:
            yield from self._objects.contents([_listed(item) for item in items])

    @cached_property
    def _objects(self) -> Objects:
        scheme, _, path = self._config.url.partition("://")
        bucket, _, prefix = path.partition("/")
        prefix = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
        name = self._config.connection
        credentials = "of this machine" if name is None else f"of the connection {name}"
        what, waits_seconds = f"the object store {self.address}", self._waits_seconds
        access = Access(what, credentials, self._options, self._config.allow_public)
        if scheme == "s3":
            return S3Objects(*s3_client.connect(bucket, access), prefix, waits_seconds)
        return CloudObjects(scheme, f"{bucket}/{prefix}", access, waits_seconds)

    def _is_meant(self, path: str) -> bool:
        is_file = bool(path) and not path.endswith("/")
        return is_file and bool(self._include.fullmatch(path)) and not self._exclude.fullmatch(path)

    def _item(self, found: Found) -> Item:
        stamp = f"{found.num_bytes} {found.version}" if found.version else ""
        at = found.modified_at
        modified_at = None if at is None else at.astimezone(UTC).isoformat(timespec="seconds")
        refusal = None
        if found.num_bytes > self._max_file_bytes:
            allowed = f"more than max_file_bytes ({self._max_file_bytes:,}) allows"
            refusal = Refusal("too_large", f"has {found.num_bytes:,} bytes, {allowed}")
        return Item(found.path, stamp, found.num_bytes, modified_at, refusal=refusal)


def _listed(item: Item) -> Found:
    assert item.num_bytes is not None, "every object is listed with its size"
    return Found(item.path, item.stamp.partition(" ")[2], item.num_bytes, None)
