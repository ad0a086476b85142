"""HTML: parsed within limits; and where it is content throughout, as in books and mails, as Markdown whole."""

from lxml import html  # type: ignore[import-untyped]

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers.elements import Element, Role, Vocabulary, local_name

_BLOCKS = (
    "address article aside body caption center dd details div fieldset figcaption figure footer form header hr main p "
    "section summary"
)
_SKIPPED = "base head link meta nav object script style svg template title"


def _level(element: Element, _: int) -> int:
    return int(local_name(element)[1])


_HTML = Vocabulary(
    {
        **dict.fromkeys(_BLOCKS.split(), Role.PARAGRAPH),
        **dict.fromkeys(_SKIPPED.split(), Role.SKIPPED),
        **dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6"), Role.TITLE),
        **dict.fromkeys(("code", "kbd", "samp", "tt"), Role.LITERAL),
        **{"ul": Role.LIST, "menu": Role.LIST, "ol": Role.NUMBERED, "li": Role.ITEM, "dt": Role.TERM, "pre": Role.CODE},
        **{"table": Role.TABLE, "tr": Role.ROW, "td": Role.CELL, "th": Role.CELL},
        **{"blockquote": Role.QUOTE, "br": Role.BREAK},
    },
    _level,
)


def html_to_markdown(content: bytes | str) -> str:
    """Return all the text of a page or a piece of one; bytes say their encoding in the page.

    Raises:
        ItemError: the page is beyond the parser's limits.
    """
    return _HTML.markdown(parse_html(content)) if content.strip() else ""


def parse_html(content: bytes | str) -> Element:
    """Return the root of a page, its comments left out.

    Raises:
        ItemError: the page is beyond the parser's limits.
    """
    parser = html.HTMLParser(remove_comments=True, remove_pis=True)
    tree = html.document_fromstring(content, parser=parser, ensure_head_body=True)
    # The parser stops silently at its limits (256 nested elements, 10 MB of text in one): the rest would be lost.
    limits = [entry.message for entry in parser.error_log if entry.type_name == "ERR_RESOURCE_LIMIT"]
    if limits:
        raise ItemError("html_limits", f"is HTML that cannot be read whole: {limits[0].strip()}")
    return tree
