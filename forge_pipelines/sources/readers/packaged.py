"""Which reader reads a document that is a ZIP archive. A new one of these formats is a line here."""

from collections.abc import Callable

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers import epub, opendocument, slides, word, workbook
from forge_pipelines.sources.readers.package import Package, open_package
from forge_pipelines.sources.readers.reading import Reading

_CONTENT_TYPES = "[Content_Types].xml"
_FORMATS: tuple[tuple[str, str, Callable[[Package], Reading]], ...] = (
    (_CONTENT_TYPES, "wordprocessingml.document.main+xml", word.read),
    (_CONTENT_TYPES, "presentationml.presentation.main+xml", slides.read),
    (_CONTENT_TYPES, "ms-powerpoint.presentation.macroEnabled.main+xml", slides.read),
    (_CONTENT_TYPES, "spreadsheetml.sheet.main+xml", workbook.read),
    (_CONTENT_TYPES, "ms-excel.sheet.macroEnabled.main+xml", workbook.read),
    ("mimetype", "application/vnd.oasis.opendocument.", opendocument.read),
    ("mimetype", "application/epub+zip", epub.read),
)
"""The member that says what the archive is, the words that it says, and the reader."""


def accepts(head: bytes) -> bool:
    """Accept every ZIP archive."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def read(content: bytes) -> Reading:
    """Return the document's text.

    Raises:
        ItemError: the archive is no document, or not one that can be read.
    """
    package = open_package(content)
    said = {name: package.member(name) for name in (_CONTENT_TYPES, "mimetype") if name in package.names}
    for member, words, reader in _FORMATS:
        if words.encode() in said.get(member, b""):
            return reader(package)
    if _CONTENT_TYPES in said:
        reason = "is an Office document of a kind that is not read; save it as .docx, .pptx or .xlsx"
        raise ItemError("unsupported", reason)
    raise ItemError("not_text", "is not text: it is a ZIP archive; unpack it beside its place")
