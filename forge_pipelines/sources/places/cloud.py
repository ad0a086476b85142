"""Google Cloud Storage and Azure: what the file systems of fsspec give, which a site installs beside Forge."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

from forge_pipelines.errors import ConfigError
from forge_pipelines.sources.place import Refusal
from forge_pipelines.sources.places.objects import CHANGED, Access, AwayError, Found, away, file_system_class
from forge_pipelines.sources.places.patience import patiently

_TIMES = ("mtime", "last_modified", "created")
_UNAUTHORISED = {401, 403}
_NOT_FOUND = 404
_AT_ONCE = 8

T = TypeVar("T")


class CloudObjects:
    """The objects below a prefix, by their whole listing.

    Args:
        scheme: of the URL.
        root: the bucket or container, and the prefix, which ends with a slash.
        access: how the store is reached; at public addresses, for these clouds have no others.
        waits_seconds: between the tries of what passes by itself.

    Raises:
        ConfigError: the store may not be reached, or its file system is not installed.
        PlatformError: the file system cannot be made, after some tries.
    """

    def __init__(self, scheme: str, root: str, access: Access, waits_seconds: tuple[float, ...]) -> None:
        if not access.allow_public:
            raise ConfigError(
                f"{access.what} is a public cloud's: if that is meant, write `allow_public: true` beside it"
            )
        self._root, self._access, self._waits_seconds = root, access, waits_seconds
        made = file_system_class(scheme, access.what)
        self._fs = self._patiently(lambda: self._told(lambda: made(**access.options, skip_instance_cache=True)))

    def pages(self) -> Iterator[Sequence[Found]]:
        """See `Objects.pages`: one page, for these file systems sort what they list by folders."""
        listing = self._patiently(lambda: self._told(self._list))
        yield sorted(listing, key=lambda found: found.path)

    def contents(self, wanted: Sequence[Found]) -> Sequence[bytes | Refusal]:
        """See `Objects.contents`: several at a time; each is looked at once more after it was read."""
        self._fs.invalidate_cache()
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            return list(
                threads.map(lambda found: self._patiently(lambda: self._told(lambda: self._get(found))), wanted)
            )

    def _list(self) -> list[Found]:
        self._fs.invalidate_cache()
        infos = self._fs.find(self._root.rstrip("/"), detail=True).values()
        return [self._found(info) for info in infos if info["type"] == "file"]

    def _get(self, found: Found) -> bytes | Refusal:
        path = self._root + found.path
        try:
            content = bytes(self._fs.cat_file(path))
            now = self._found(self._fs.info(path))
        except FileNotFoundError:
            return CHANGED
        return content if (now.version, len(content)) == (found.version, found.num_bytes) else CHANGED

    def _found(self, info: Mapping[str, Any]) -> Found:
        path = str(info["name"]).lstrip("/").removeprefix(self._root)
        modified_at = _modified_at(info)
        version = info.get("etag") or info.get("generation") or (modified_at and modified_at.isoformat())
        return Found(path, str(version or ""), info["size"], modified_at)

    def _patiently(self, work: Callable[[], T]) -> T:
        return patiently(work, away, self._access.what, self._waits_seconds)

    def _told(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (ConfigError, AwayError):
            raise
        except Exception as error:
            raise self._fault(error) from error

    def _fault(self, error: Exception) -> ConfigError | AwayError:
        status = getattr(error, "status_code", None) or getattr(error, "code", None)
        if isinstance(error, FileNotFoundError) or status == _NOT_FOUND:
            return ConfigError(f"{self._access.what} does not exist: correct `object_store.url`")
        if isinstance(error, PermissionError) or status in _UNAUTHORISED or str(error).startswith("Forbidden"):
            return ConfigError(
                f"{self._access.what} does not open to the credentials {self._access.credentials}: correct them"
            )
        if isinstance(error, TypeError | ValueError):
            reason = f"the options {self._access.credentials} cannot be used ({type(error).__name__})"
            return ConfigError(f"{self._access.what} cannot be asked: {reason}; correct them")
        return AwayError(f"it fails ({type(error).__name__}{'' if status is None else f' {status}'})")


def _modified_at(info: Mapping[str, Any]) -> datetime | None:
    for name in _TIMES:
        time = info.get(name)
        if isinstance(time, datetime):
            return time
        if isinstance(time, int | float):
            return datetime.fromtimestamp(time, UTC)
    return None
