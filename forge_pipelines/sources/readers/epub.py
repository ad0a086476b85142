"""Books (epub): the chapters in reading order."""

import posixpath
from collections.abc import Iterator
from urllib.parse import unquote

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers import markdown
from forge_pipelines.sources.readers.html_parts import html_to_markdown
from forge_pipelines.sources.readers.package import Package
from forge_pipelines.sources.readers.reading import Reading
from forge_pipelines.sources.readers.safe_xml import parse_xml

MEDIA_TYPE = "application/epub+zip"
_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_FONT_LOCKS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")


def read(package: Package) -> Reading:
    """Return the book's text.

    Raises:
        ItemError: the book is damaged, or locked.
    """
    if _ENCRYPTION in package.names and _locks_text(package.member(_ENCRYPTION)):
        raise ItemError("encrypted", "is a locked book; use a copy without digital rights management")
    chapters = [html_to_markdown(package.member(name)) for name in _chapters(package)]
    return Reading(markdown.join(chapters), MEDIA_TYPE)


def _locks_text(encryption: bytes) -> bool:
    methods = parse_xml(encryption).iterfind(".//{*}EncryptionMethod")
    return any(method.get("Algorithm") not in _FONT_LOCKS for method in methods)


def _chapters(package: Package) -> Iterator[str]:
    place = parse_xml(package.member(_CONTAINER)).find(".//{*}rootfile")
    if place is None:
        raise ItemError("damaged", "is a damaged book: it does not say where its contents stand")
    contents = place.get("full-path", "")
    book = parse_xml(package.member(contents))
    items = {item.get("id"): item for item in book.iterfind(".//{*}manifest/{*}item")}
    for reference in book.iterfind(".//{*}spine/{*}itemref"):
        item = items.get(reference.get("idref"))
        if item is not None and item.get("media-type") in _PAGES:
            yield posixpath.normpath(posixpath.join(posixpath.dirname(contents), unquote(item.get("href", ""))))
