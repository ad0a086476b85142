"""What a ZIP archive is: a document of one of the formats here, of which each is a line, or an archive of files."""

import zipfile
from collections.abc import Callable

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers import archives, epub, opendocument, slides, word, workbook
from forge_pipelines.sources.readers.package import (
    DAMAGES,
    Package,
    is_bounded,
    is_encrypted,
    open_archive,
    open_package,
)
from forge_pipelines.sources.readers.reading import Contents, Reading

_CONTENT_TYPES = "[Content_Types].xml"
_MIME_TYPE = "mimetype"
_LONGEST_MIME_TYPE = 256
_FORMATS: tuple[tuple[str, str, Callable[[Package], Reading]], ...] = (
    (_CONTENT_TYPES, "wordprocessingml.document.main+xml", word.read),
    (_CONTENT_TYPES, "presentationml.presentation.main+xml", slides.read),
    (_CONTENT_TYPES, "ms-powerpoint.presentation.macroEnabled.main+xml", slides.read),
    (_CONTENT_TYPES, "spreadsheetml.sheet.main+xml", workbook.read),
    (_CONTENT_TYPES, "ms-excel.sheet.macroEnabled.main+xml", workbook.read),
    (_MIME_TYPE, "application/vnd.oasis.opendocument.", opendocument.read),
    (_MIME_TYPE, "application/epub+zip", epub.read),
)
"""The member that says what the archive is, the words that it says, and the reader."""


def accepts(head: bytes) -> bool:
    """Accept every ZIP archive."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def read(content: bytes) -> Reading | Contents:
    """Return the document's text, or the files that the archive holds.

    Raises:
        ItemError: the archive is damaged, or is a document that cannot be read.
    """
    archive = open_archive(content)
    if _CONTENT_TYPES in archive.NameToInfo:
        reader = _reader(_CONTENT_TYPES, open_package(content, archive).member(_CONTENT_TYPES))
        if reader is None:
            reason = "is an Office document of a kind that is not read; save it as .docx, .pptx or .xlsx"
            raise ItemError("unsupported", reason)
    else:
        reader = _reader(_MIME_TYPE, _mime_type(archive))
    return archives.read_zip(content, archive) if reader is None else reader(open_package(content, archive))


def _reader(member: str, said: bytes) -> Callable[[Package], Reading] | None:
    found = (reader for name, words, reader in _FORMATS if name == member and words.encode() in said)
    return next(found, None)


def _mime_type(archive: zipfile.ZipFile) -> bytes:
    """Return what the archive says to be; nothing where that cannot be read, as any file may be called so."""
    member = archive.NameToInfo.get(_MIME_TYPE)
    if member is None or is_encrypted(member) or not is_bounded(member):
        return b""
    try:
        with archive.open(member) as file:
            return file.read(_LONGEST_MIME_TYPE)
    except DAMAGES:
        return b""
