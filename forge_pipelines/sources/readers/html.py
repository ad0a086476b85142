"""Web pages: the main content as Markdown under the page's title, without navigation, menus and footers."""

import re

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers.encoding import decode
from forge_pipelines.sources.readers.html_parts import parse_html
from forge_pipelines.sources.readers.reading import Reading

_XML_DECLARATION = re.compile(r"\s*<\?xml[^>]{0,200}\?>")
_START = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:(?><!--.*?-->)\s*+)*+<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL
)


def accepts(head: bytes) -> bool:
    """Accept what begins as a whole page; a piece of HTML, with which Markdown often begins, is none."""
    without_marks = head.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe")
    return _START.match(without_marks) is not None


def read(content: bytes) -> Reading:
    """Return the page's main content.

    Raises:
        ItemError: the page has no main content, is beyond the parser's limits, or is not text.
    """
    import trafilatura

    tree = parse_html(_XML_DECLARATION.sub("", decode(content), count=1))
    title = " ".join((tree.findtext(".//title") or "").split())
    text = trafilatura.extract(tree, output_format="markdown", include_formatting=True, include_comments=False)
    if not text:
        raise ItemError("no_content", "is HTML without main content (navigation or an empty page)", title)
    return Reading(text if not title or title in text else f"# {title}\n\n{text}", "text/html")
