"""Web pages: the main content as Markdown under the page's title, without navigation, menus and footers."""

import re

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers.encoding import decode
from forge_pipelines.sources.readers.reading import Reading

_XML_DECLARATION = re.compile(r"\s*<\?xml[^>]{0,200}\?>")
_START = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL)


def accepts(head: bytes) -> bool:
    """Accept what begins as a whole page; a piece of HTML, with which Markdown often begins, is none."""
    without_marks = head.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe")
    return _START.match(without_marks) is not None


def read(content: bytes) -> Reading:
    """Return the page's main content.

    Raises:
        ItemError: the page has no main content, is beyond the parser's limits, or is not text.
    """
    import lxml.html  # type: ignore[import-untyped]
    import trafilatura

    parser = lxml.html.HTMLParser(remove_comments=True, remove_pis=True)
    page = decode(content)
    tree = lxml.html.document_fromstring(_XML_DECLARATION.sub("", page, count=1), parser=parser, ensure_head_body=True)
    # The parser stops silently at its limits (256 nested elements, 10 MB of text in one): the rest would be lost.
    limits = [entry.message for entry in parser.error_log if entry.type_name == "ERR_RESOURCE_LIMIT"]
    if limits:
        raise ItemError("html_limits", f"is HTML that cannot be read whole: {limits[0].strip()}")
    title = " ".join((tree.findtext(".//title") or "").split())
    text = trafilatura.extract(tree, output_format="markdown", include_formatting=True, include_comments=False)
    if not text:
        raise ItemError("no_content", "is HTML without main content (navigation or an empty page)", title)
    return Reading(text if not title or title in text else f"# {title}\n\n{text}", "text/html")
