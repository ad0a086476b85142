"""Which reader reads what. A new format is a file beside this one and a line here."""

from collections.abc import Callable

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers import (
    delimited,
    docbook,
    html,
    mail,
    notebook,
    old_office,
    packaged,
    pdf,
    rtf,
    text,
)
from forge_pipelines.sources.readers.reading import Reading
from forge_pipelines.sources.readers.unpacking import gunzip, is_gzip

HEAD_BYTES = 16 << 10

READERS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], Reading]], ...] = (
    (pdf.accepts, pdf.read),
    (packaged.accepts, packaged.read),
    (old_office.accepts, old_office.read),
    (rtf.accepts, rtf.read),
    (html.accepts, html.read),
    (docbook.accepts, docbook.read),
    (notebook.accepts, notebook.read),
    (mail.accepts, mail.read),
    (delimited.accepts, delimited.read),
    (text.accepts, text.read),
)
"""Asked in this order, each with the first `HEAD_BYTES`; the first that accepts reads the file."""

READERS_VERSION = "1"
"""Raised when a reader gives another text for the same bytes."""

LIBRARIES = (
    "charset-normalizer",
    "lxml",
    "openpyxl",
    "pypdfium2",
    "python-docx",
    "python-pptx",
    "striprtf",
    "trafilatura",
)
"""The libraries whose versions shape what the readers give."""


def read(content: bytes) -> Reading:
    """Return a file's text; of a file that gzip packed, the text of what it packed.

    Raises:
        ItemError: its reader found that it is not what it seems, or has no text.
    """
    if is_gzip(content):
        content = gunzip(content)
        if is_gzip(content):
            raise ItemError("bomb", "is gzip data within gzip data; unpack it beforehand")
    head = content[:HEAD_BYTES]
    reader = next(read_format for accepts, read_format in READERS if accepts(head))
    return reader(content)
