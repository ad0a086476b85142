"""What an object store's client gives: which objects there are, and their contents. Each client is a file beside it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from forge_pipelines.errors import ConfigError
from forge_pipelines.sources.place import Refusal

CHANGED = Refusal("changed", "changed while it was being read; it is read again at the next run")


_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}


class AwayError(Exception):
    """The store fails in a way that passes by itself; the message says how, without any secret."""


def away(error: Exception) -> str | None:
    """See `patience.Passing`."""
    return str(error) if isinstance(error, AwayError) else None


@dataclass(frozen=True, slots=True)
class Access:
    """How a store is reached.

    Attributes:
        what: the place, as a sentence begins: «the object store s3://bucket/prefix».
        credentials: whose they are: «of the connection archive».
        options: what fsspec's file system of the store takes.
        allow_public: whether the store may stand at a public address.
    """

    what: str
    credentials: str
    options: Mapping[str, Any] = field(repr=False)
    allow_public: bool


@dataclass(frozen=True, slots=True)
class Found:
    """An object as it is listed.

    Attributes:
        path: its key, without the prefix that all have.
        version: what changes whenever its content does, as the store writes it; empty where the store tells nothing.
        num_bytes: its size.
        modified_at: when it was written.
    """

    path: str
    version: str
    num_bytes: int
    modified_at: datetime | None


class Objects(Protocol):
    """The objects below a prefix."""

    def pages(self) -> Iterator[Sequence[Found]]:
        """Yield them all, some at a time, in the order of their keys.

        Raises:
            ConfigError: there is no such bucket, or the credentials do not open it.
            PlatformError: the store does not answer, after some tries.
        """

    def contents(self, wanted: Sequence[Found]) -> Sequence[bytes | Refusal]:
        """Return the contents of some, in their order; a refusal where one cannot be had as it was listed.

        Raises:
            ConfigError: the credentials are accepted no longer.
            PlatformError: the store does not answer, after some tries.
        """


def file_system_class(scheme: str, what: str) -> Any:
    """Return fsspec's file system for a scheme.

    Args:
        scheme: of the store's URL.
        what: the place, as a sentence begins.

    Raises:
        ConfigError: it is not installed.
    """
    import fsspec

    try:
        return fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        package = _PACKAGES[scheme]
        raise ConfigError(f"{what} needs the package {package}: install it, `pip install {package}`") from error
