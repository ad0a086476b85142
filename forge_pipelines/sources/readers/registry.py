"""Which reader reads what. A new format is a file beside this one and a line here."""

from collections.abc import Callable

from forge_pipelines.sources.readers import html, text
from forge_pipelines.sources.readers.reading import Reading

HEAD_BYTES = 4096

READERS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], Reading]], ...] = (
    (html.accepts, html.read),
    (text.accepts, text.read),
)
"""Asked in this order, each with the first `HEAD_BYTES`; the first that accepts reads the file."""

LIBRARIES = ("charset-normalizer", "lxml", "trafilatura")
"""The libraries whose versions shape what the readers give."""


def read(content: bytes) -> Reading:
    """Return a file's text.

    Raises:
        ItemError: its reader found that it is not what it seems, or has no text.
    """
    head = content[:HEAD_BYTES]
    reader = next(read_format for accepts, read_format in READERS if accepts(head))
    return reader(content)
