"""What S3 is asked for: the pages of a bucket's listing, and the contents of objects that are still the listed ones."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from forge_pipelines.sources.place import Refusal
from forge_pipelines.sources.places.objects import CHANGED, AwayError, Found, away
from forge_pipelines.sources.places.patience import patiently
from forge_pipelines.sources.places.s3_faults import Server, faults, is_archived, is_forbidden, is_gone

_AT_ONCE = 8

T = TypeVar("T")


class S3Objects:
    """The objects below a prefix of a bucket.

    Args:
        fs: an `s3fs.S3FileSystem`; see `s3_client.connect`.
        server: what the sentences call it.
        prefix: what the keys begin with; empty for the whole bucket, else it ends with a slash.
        waits_seconds: between the tries of what passes by itself.
    """

    def __init__(self, fs: Any, server: Server, prefix: str, waits_seconds: tuple[float, ...]) -> None:
        self._fs, self._server, self._prefix, self._waits_seconds = fs, server, prefix, waits_seconds

    def pages(self) -> Iterator[Sequence[Found]]:
        """See `Objects.pages`: at most 1,000 each, in the order of their keys' UTF-8 bytes."""
        asked = {"Prefix": self._prefix}
        while True:
            answer = self._patiently(lambda: self._list(asked))
            yield [self._found(entry) for entry in answer.get("Contents", ())]
            if not answer.get("IsTruncated"):
                return
            asked["ContinuationToken"] = answer["NextContinuationToken"]

    def contents(self, wanted: Sequence[Found]) -> Sequence[bytes | Refusal]:
        """See `Objects.contents`: several at a time; what is had is not asked for again when another fails."""
        had: dict[int, bytes | Refusal] = {}
        self._patiently(lambda: self._get_missing(wanted, had))
        return [had[number] for number in range(len(wanted))]

    def _patiently(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        from fsspec.asyn import sync

        what = f"the object store at {self._server.endpoint}"

        def asked() -> T:
            answer: T = sync(self._fs.loop, ask)
            return answer

        return patiently(asked, away, what, self._waits_seconds)

    async def _list(self, asked: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self._call("list_objects_v2", **asked)
        except faults() as error:
            raise self._server.fault(error, f"list the bucket {self._server.bucket}") from error

    async def _get_missing(self, wanted: Sequence[Found], had: dict[int, bytes | Refusal]) -> None:
        turns = asyncio.Semaphore(_AT_ONCE)

        async def get(number: int) -> None:
            async with turns:
                had[number] = await self._get(wanted[number])

        missing = [number for number in range(len(wanted)) if number not in had]
        outcomes = await asyncio.gather(*map(get, missing), return_exceptions=True)
        errors = [outcome for outcome in outcomes if outcome is not None]
        if errors:
            raise min(errors, key=lambda error: isinstance(error, AwayError))

    async def _get(self, found: Found) -> bytes | Refusal:
        key = self._prefix + found.path
        condition = {"IfMatch": found.version} if found.version else {}
        try:
            answer = await self._call("get_object", Key=key, **condition)
            async with answer["Body"] as body:
                if (answer["ContentLength"], answer.get("ETag", "")) != (found.num_bytes, found.version):
                    return CHANGED  # not every server minds the condition
                return bytes(await body.read())
        except faults() as error:
            return self._refusal(error, key)

    def _refusal(self, error: Exception, key: str) -> Refusal:
        if is_gone(error):
            return CHANGED
        if is_archived(error):
            return Refusal("unreadable", "stands in an archive of the object store; restore it there")
        if is_forbidden(error):
            return Refusal("unreadable", f"may not be read with the credentials {self._server.credentials}; allow it")
        raise self._server.fault(error, f"read {key} in the bucket {self._server.bucket}") from error

    async def _call(self, operation: str, **asked: Any) -> dict[str, Any]:
        method = getattr(await self._fs.set_session(), operation)
        asked = self._fs._get_s3_method_kwargs(method, Bucket=self._server.bucket, **asked)
        answer: dict[str, Any] = await method(**asked)
        return answer

    def _found(self, entry: dict[str, Any]) -> Found:
        path = entry["Key"].removeprefix(self._prefix)
        return Found(path, entry.get("ETag", ""), entry["Size"], entry["LastModified"])
