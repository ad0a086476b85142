"""Rich text (rtf): its text, without the formatting."""

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers.reading import Reading


def accepts(head: bytes) -> bool:
    """Accept what begins as rich text does."""
    return head.startswith(b"{\\rtf")


def read(content: bytes) -> Reading:
    """Return the text.

    Raises:
        ItemError: the file ends too soon.
    """
    from striprtf.striprtf import rtf_to_text

    if not content.rstrip(b"\0 \r\n\t\x1a").endswith(b"}"):
        raise ItemError("damaged", "is rich text that ends too soon; copy it again")
    return Reading(rtf_to_text(content.decode("latin-1"), errors="replace"), "application/rtf")
