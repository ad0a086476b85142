"""Plain text, Markdown, reStructuredText and source code: decoded and passed on as they are."""

import re

from forge_pipelines.sources.readers import code
from forge_pipelines.sources.readers.encoding import decode
from forge_pipelines.sources.readers.reading import Reading

_SNIFFED_CHARACTERS = 64 << 10
_ENOUGH_SIGNS = 3
# Every repetition is bounded: a hostile line must not make matching quadratic.
_MARKDOWN = re.compile(r"^#{1,6} \S|^(?:```|~~~)|\]\([^)\s]{1,300}\)|\*\*\S", re.MULTILINE)
_RESTRUCTURED = re.compile(
    r"^\.\. [\w-]{1,40}::|:[\w+-]{1,40}:`[^`\n]|``[^`\n]|^\.\. _|^([=~^*\"'+-])\1{3,200}$|>`_", re.MULTILINE
)


def accepts(head: bytes) -> bool:  # noqa: ARG001 - the last reader is asked about whatever the others left
    """Accept anything: what is no text is refused when it is decoded."""
    return True


def read(content: bytes) -> Reading:
    """Return the text as it stands.

    Raises:
        ItemError: the file is not text.
    """
    text = decode(content)
    return Reading(text, code.media_type(text) or _media_type(text[:_SNIFFED_CHARACTERS]))


def _media_type(head: str) -> str:
    markdown = sum(1 for _ in _MARKDOWN.finditer(head))
    restructured = sum(1 for _ in _RESTRUCTURED.finditer(head))
    if max(markdown, restructured) < _ENOUGH_SIGNS:
        return "text/plain"
    return "text/markdown" if markdown >= restructured else "text/x-rst"
