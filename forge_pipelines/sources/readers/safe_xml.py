"""XML from strangers: parsed within limits, without a network, and without entities from elsewhere."""

import re
from html.entities import html5

from lxml import etree  # type: ignore[import-untyped]

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers.elements import Element

_ENTITY = re.compile(rb"&([A-Za-z]\w{0,60});")
_UNDECLARED = (etree.ErrorTypes.ERR_UNDECLARED_ENTITY, etree.ErrorTypes.WAR_UNDECLARED_ENTITY)
_OWN = {b"amp", b"lt", b"gt", b"quot", b"apos"}


def parse_xml(content: bytes) -> Element:
    """Return the root element. A document's own entities are resolved as far as libxml2's limits allow.

    Raises:
        ItemError: the XML is damaged, is a bomb of entities, or needs entities that it does not define.
    """
    try:
        return _parse(content)
    except etree.XMLSyntaxError as error:
        if error.code not in _UNDECLARED:
            raise ItemError(*_rule_and_reason(error)) from error
    try:
        return _parse(_ENTITY.sub(_known_character, content))
    except etree.XMLSyntaxError as error:
        raise ItemError(*_rule_and_reason(error)) from error


def _parse(content: bytes) -> Element:
    parser = etree.XMLParser(resolve_entities="internal", no_network=True, load_dtd=False, huge_tree=False)
    return etree.fromstring(content, parser)


def _known_character(entity: re.Match[bytes]) -> bytes:
    """Stand in for the character sets that the external part of a document's DTD would define, as DocBook's does."""
    name = entity[1]
    characters = html5.get(name.decode() + ";") if name not in _OWN else None
    return "".join(f"&#{ord(character)};" for character in characters).encode() if characters else entity[0]


def _rule_and_reason(error: etree.XMLSyntaxError) -> tuple[str, str]:
    if error.code == etree.ErrorTypes.ERR_RESOURCE_LIMIT:
        return ("bomb", f"is XML that would grow beyond the parser's limits: {error.msg}")
    if error.code in _UNDECLARED:
        return ("entity", f"is XML that needs what stands elsewhere: {error.msg}; resolve its entities")
    return ("damaged", f"is damaged XML: {error.msg}")
