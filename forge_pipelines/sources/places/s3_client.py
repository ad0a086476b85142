"""An S3 client that goes to the server it is given and nowhere else, with credentials that it shares with no other."""

import inspect
import re
from typing import Any
from urllib.parse import SplitResult, urlsplit

from forge_pipelines.errors import ConfigError
from forge_pipelines.sources.places.objects import Access, file_system_class
from forge_pipelines.sources.places.reach import checked_addresses, connector_args
from forge_pipelines.sources.places.s3_faults import Server, faults

_CONNECT_SECONDS = 10
_READ_SECONDS = 60
_PORTS = {"http": 80, "https": 443}
_AMAZON = re.compile(r"(?!.*\.vpce\.)(.*\.)?amazonaws\.com(\.cn)?")
_AIOBOTOCORES = {"connector_args", "http_session_cls"}
_OURS = {"self", "kwargs", "asynchronous", "loop", "session"}


def connect(bucket: str, access: Access) -> tuple[Any, Server]:
    """Return an `s3fs.S3FileSystem`, which has asked for nothing yet, and what the sentences call its server.

    Every connection is to an address that may be reached, no redirect is followed, and a request is made once.

    Args:
        bucket: the bucket.
        access: how it is reached; the options may name a ``region``.

    Raises:
        ConfigError: the options mean nothing, or the server may not be reached.
        PlatformError: the server's name cannot be looked up now.
    """
    fs = _file_system(access)
    unusable: tuple[type[Exception], ...] = (*faults(), TypeError, ValueError, KeyError)
    try:
        url = urlsplit(_endpoint(fs))
        port = url.port or _PORTS[url.scheme]
    except unusable as error:
        reason = f"endpoint, region or another option {access.credentials} is none ({type(error).__name__})"
        raise ConfigError(f"{access.what} cannot be reached, because {reason}: correct it") from error
    _refuse_public(url, port, access)
    return fs, Server(bucket, f"{url.scheme}://{url.netloc.rpartition('@')[2]}", access.credentials)


def _file_system(access: Access) -> Any:
    file_system = file_system_class("s3", access.what)
    options = dict(access.options)
    region = options.pop("region", None)
    known = inspect.signature(file_system.__init__).parameters.keys() - _OURS | {"profile"}
    if unknown := options.keys() - known:
        raise ConfigError(f"{access.what} is given the option `{min(unknown)}`, which s3fs does not take: correct it")
    client = {**({} if region is None else {"region_name": region}), **options.pop("client_kwargs", {})}
    config = {
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": _READ_SECONDS,
        **({} if access.allow_public else {"proxies": {}}),  # a proxy would go where we may not
        **options.pop("config_kwargs", {}),
        "connector_args": connector_args(allow_public=access.allow_public, what=access.what),
        "http_session_cls": _session_class(),
        "retries": {"total_max_attempts": 1},
    }
    return file_system(**options, client_kwargs=client, config_kwargs=config, skip_instance_cache=True)


def _session_class() -> type[Any]:
    from aiobotocore.httpsession import AIOHTTPSession  # type: ignore[import-untyped]

    class Unredirected:
        def __init__(self, session: Any) -> None:
            self._session = session

        async def request(self, *args: Any, **kwargs: Any) -> Any:
            return await self._session.request(*args, **kwargs, allow_redirects=False)

    class UnredirectedSession(AIOHTTPSession):  # type: ignore[misc]
        async def _get_session(self, proxy_url: str | None) -> Unredirected:
            return Unredirected(await super()._get_session(proxy_url))

    return UnredirectedSession


def _endpoint(fs: Any) -> str:
    """Return the URL that the client will turn to, wherever it is written; no credentials are looked for."""
    import botocore.session
    from botocore.config import Config

    config = {name: value for name, value in fs.config_kwargs.items() if name not in _AIOBOTOCORES}
    made = {"endpoint_url": fs.endpoint_url, "use_ssl": fs.use_ssl, **fs.client_kwargs}
    made |= {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
    session = botocore.session.Session(profile=fs.kwargs.get("profile"))
    return str(session.create_client("s3", config=Config(**config), **made).meta.endpoint_url)


def _refuse_public(url: SplitResult, port: int, access: Access) -> None:
    host = url.hostname or ""
    if not _AMAZON.fullmatch(host):
        checked_addresses(host, port, allow_public=access.allow_public, what=access.what)
    elif not access.allow_public:
        raise ConfigError(
            f"{access.what} is the public cloud's, at {host}: name another endpoint, "
            "or write `allow_public: true` beside it if that is meant"
        )
