"""Which reader reads what. A new format is a file beside this one and a line here."""

from collections.abc import Callable

from forge_pipelines.sources.readers import (
    archives,
    delimited,
    docbook,
    html,
    mail,
    mbox,
    notebook,
    old_office,
    packaged,
    pdf,
    picture,
    rtf,
    tabular_records,
    text,
)
from forge_pipelines.sources.readers.reading import Contents, Reader, Reading

HEAD_BYTES = 16 << 10

READERS: tuple[tuple[Callable[[bytes], bool], Reader], ...] = (
    (pdf.accepts, pdf.read),
    (packaged.accepts, packaged.read),
    (archives.accepts, archives.read),
    (picture.accepts, picture.read),
    (old_office.accepts, old_office.read),
    (rtf.accepts, rtf.read),
    (html.accepts, html.read),
    (docbook.accepts, docbook.read),
    (tabular_records.accepts, tabular_records.read),
    (notebook.accepts, notebook.read),
    (mbox.accepts, mbox.read),
    (mail.accepts, mail.read),
    (delimited.accepts, delimited.read),
    (text.accepts, text.read),
)
"""Asked in this order, each with the first `HEAD_BYTES`; the first that accepts reads the file."""

READERS_VERSION = "2"
"""Raised when a reader gives another text for the same bytes."""

LIBRARIES = (
    "charset-normalizer",
    "lxml",
    "openpyxl",
    "pillow",
    "py3langid",
    "pyarrow",
    "pypdfium2",
    "python-docx",
    "python-pptx",
    "striprtf",
    "trafilatura",
)
"""The libraries whose versions shape what the readers give."""


def read_format(content: bytes) -> Reading | Contents:
    """Return what a file says, by the first reader that accepts it.

    Raises:
        ItemError: its reader found that it is not what it seems, or has no text.
    """
    head = content[:HEAD_BYTES]
    return next(reader for accepts, reader in READERS if accepts(head))(content)
