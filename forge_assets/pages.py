"""Published pages and pictures for a browser, served by `forge up` on loopback: read-only, verified before shown."""

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from forge_assets.settings import load_settings
from forge_pipelines.errors import DataError, ForgeError
from forge_pipelines.manifest import STAGES, Manifest, Name
from forge_pipelines.store import Store

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_TYPES = {".html": "text/html", ".png": "image/png"}
_KEPT = 32
_NAME: TypeAdapter[str] = TypeAdapter(Name)


def page_url(manifest: Manifest, path: str) -> str:
    """Return where a browser finds a published page or picture while `forge up` runs."""
    return f"{load_settings().pages_url}/{manifest.name}/{manifest.kind}/{manifest.fingerprint}/{quote(path)}"


class Pages:
    """The pages and pictures of a store, by name, kind, fingerprint and path. The last few are kept in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def read(self, name: str, kind: str, fingerprint: str, path: str) -> bytes | None:
        """Return a page's verified bytes, or None where no such page is published.

        Raises:
            DataError: what is published there is damaged.
            PlatformError: the store cannot be reached.
        """
        manifest = self._find(name, kind, fingerprint)
        if manifest is None or Path(path).suffix not in _TYPES or path not in {entry.path for entry in manifest.files}:
            return None
        page = self._kept.pop((fingerprint, path), None) or (self._store.open(manifest) / path).read_bytes()
        self._kept[fingerprint, path] = page
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return page

    def _find(self, name: str, kind: str, fingerprint: str) -> Manifest | None:
        try:
            _NAME.validate_python(name)
        except ValidationError:
            return None
        if kind not in STAGES:
            return None
        found = (manifest for manifest in self._store.manifests(name, kind) if manifest.fingerprint == fingerprint)
        return next(found, None)


def create_app(store: Store | None = None) -> "Starlette":
    """Return the web application; ``/health`` says that it lives.

    Raises:
        ConfigError: a setting says something impossible.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    if store is None:
        settings = load_settings()
        store = Store(settings.store, Path(settings.home) / "scratch")
    pages = Pages(store)

    def health(_: "Request") -> "Response":
        return PlainTextResponse("OK")

    return Starlette(
        routes=[
            Route("/health", health, methods=["GET"]),
            Route("/{name}/{kind}/{fingerprint}/{path:path}", lambda request: _answer(pages, request), methods=["GET"]),
        ],
        # Another site's name that is made to lead here finds nothing (DNS rebinding).
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False)],
    )


def _answer(pages: Pages, request: "Request") -> "Response":
    from starlette.responses import PlainTextResponse, Response

    try:
        page = pages.read(**request.path_params)
    except ForgeError as error:
        return PlainTextResponse(f"{error}\n", 500 if isinstance(error, DataError) else 503, _HEADERS)
    if page is None:
        return PlainTextResponse("no such page is published; open it from its asset in the web UI\n", 404, _HEADERS)
    return Response(page, headers=_HEADERS, media_type=_TYPES[Path(request.path_params["path"]).suffix])
