"""Documentation in XML, DocBook and Mallard: titles, paragraphs, lists, tables and code."""

import re

from forge_pipelines.sources.readers.elements import Element, Role, Vocabulary, local_name
from forge_pipelines.sources.readers.reading import Reading
from forge_pipelines.sources.readers.safe_xml import parse_xml

_SIGN = re.compile(rb"//DTD (?:Simplified )?DocBook|http://docbook\.org/ns/docbook|http://projectmallard\.org/1\.0/")
_ROOT = re.compile(rb"<(?:\w{1,20}:)?(\w{1,40})[\s>/]")
_MALLARD_NAMESPACE = "{http://projectmallard.org/1.0/}"
_SECTIONS = (
    "acknowledgements appendix article book bibliography chapter colophon dedication glossary index part "
    "partintro preface refentry refsect1 refsect2 refsect3 refsection refsynopsisdiv sect1 sect2 sect3 sect4 sect5 "
    "section set simplesect topic"
)
_PARAGRAPHS = (
    "abstract answer attribution bibliodiv caution cmdsynopsis equation example figure formalpara funcsynopsis "
    "glossdef important informalexample informalfigure legalnotice listitem mediaobject note para procedure qandaentry "
    "question refname refnamediv refpurpose sidebar simpara step subtitle substeps tip warning"
)
_LITERALS = (
    "classname code command computeroutput constant envar filename function keycap literal markup methodname option "
    "parameter prompt property replaceable structfield systemitem tag type userinput varname"
)
_DOCBOOK = Vocabulary(
    {
        **dict.fromkeys(_SECTIONS.split(), Role.SECTION),
        **dict.fromkeys(_PARAGRAPHS.split(), Role.PARAGRAPH),
        **dict.fromkeys(_LITERALS.split(), Role.LITERAL),
        **dict.fromkeys(("programlisting", "screen", "literallayout", "synopsis", "classsynopsis"), Role.CODE),
        **dict.fromkeys(("itemizedlist", "simplelist", "calloutlist"), Role.LIST),
        **dict.fromkeys(("term", "glossterm"), Role.TERM),
        **dict.fromkeys(("orderedlist",), Role.NUMBERED),
        **{
            "title": Role.TITLE,
            "bridgehead": Role.TITLE,
            "blockquote": Role.QUOTE,
            "footnote": Role.ASIDE,
            "indexterm": Role.SKIPPED,
        },
        **{"table": Role.TABLE, "informaltable": Role.TABLE, "row": Role.ROW, "entry": Role.CELL},
        **{"tr": Role.ROW, "td": Role.CELL, "th": Role.CELL, "sbr": Role.BREAK, "member": Role.ITEM},
    }
)
_MALLARD = Vocabulary(
    {
        **dict.fromkeys(("page", "section"), Role.SECTION),
        **dict.fromkeys(
            ("p", "item", "note", "example", "synopsis", "listing", "figure", "desc", "cite"), Role.PARAGRAPH
        ),
        **dict.fromkeys(("cmd", "sys", "file", "input", "output", "var"), Role.LITERAL),
        **dict.fromkeys(("info", "links"), Role.SKIPPED),
        **{"title": Role.TITLE, "list": Role.LIST, "tree": Role.LIST, "steps": Role.NUMBERED, "quote": Role.QUOTE},
        **{
            "code": Role.CODE,
            "screen": Role.CODE,
            "table": Role.TABLE,
            "tr": Role.ROW,
            "td": Role.CELL,
            "th": Role.CELL,
        },
    }
)
_ROOTS = {"page", *_SECTIONS.split()}
_HOLDS_LINES = {"p", "title", "td", "desc"}


def accepts(head: bytes) -> bool:
    """Accept XML that says to be DocBook or Mallard, and begins with one of their documents' elements."""
    if not head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<") or not _SIGN.search(head):
        return False
    root = _ROOT.search(head)
    return root is not None and root[1].decode() in _ROOTS


def read(content: bytes) -> Reading:
    """Return the document's text.

    Raises:
        ItemError: the XML is damaged, a bomb, or needs what stands elsewhere.
    """
    root = parse_xml(content)
    if root.tag.startswith(_MALLARD_NAMESPACE):
        _tell_code_in_lines(root)
        return Reading(_MALLARD.markdown(_document(root)), "application/mallard+xml")
    _keep_titles_alone(root)
    return Reading(_DOCBOOK.markdown(_document(root)), "application/docbook+xml")


def _document(root: Element) -> Element:
    """Return an element that holds the root, which then counts as a section as every other does."""
    holder = root.makeelement("document")
    holder.append(root)
    return holder


def _tell_code_in_lines(root: Element) -> None:
    for code in root.iter("{*}code"):
        if local_name(code.getparent()) in _HOLDS_LINES:
            code.tag = "cmd"


def _keep_titles_alone(root: Element) -> None:
    """Of what DocBook says about a document (authors, dates, copyright) keep its titles."""
    for info in [element for element in root.iter("{*}*") if local_name(element).endswith("info")]:
        for child in info:
            if not isinstance(child.tag, str) or local_name(child) not in {"title", "subtitle", "abstract"}:
                info.remove(child)
