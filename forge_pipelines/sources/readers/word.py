"""Word's documents (docx): headings, lists, tables, code and notes in the order of the document."""

from collections.abc import Iterator
from typing import Any

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers import markdown
from forge_pipelines.sources.readers.elements import Element
from forge_pipelines.sources.readers.markdown import Kind, Piece
from forge_pipelines.sources.readers.package import Package
from forge_pipelines.sources.readers.reading import Reading
from forge_pipelines.sources.readers.safe_xml import parse_xml

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_TRANSPARENT = {f"{_W}{name}" for name in ("sdt", "sdtContent", "customXml", "ins", "moveTo", "smartTag")}
_REMOVED = {f"{_W}{name}" for name in ("del", "moveFrom", "txbxContent")} | {
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
}
_SIGNS = {f"{_W}tab": " ", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
_CODE_STYLES = ("source code", "html preformatted", "preformatted text", "code", "macro")
_NOTES = {f"{_W}footnoteReference": "footnotes", f"{_W}endnoteReference": "endnotes"}


def read(package: Package) -> Reading:
    """Return the document's text; what was deleted under tracked changes is left out.

    Raises:
        ItemError: the document is damaged.
    """
    import docx
    from docx.opc.exceptions import OpcError
    from lxml.etree import XMLSyntaxError  # type: ignore[import-untyped]

    try:
        document = docx.Document(package.file())
        body = document.element.body
    except (OpcError, KeyError, ValueError, XMLSyntaxError) as error:
        raise ItemError("damaged", f"is a damaged Word document: {error}") from error
    text = markdown.join_pieces(_Body(document).pieces(body))
    return Reading(markdown.join([text, *_notes(package, "footnotes"), *_notes(package, "endnotes")]), MEDIA_TYPE)


class _Body:
    def __init__(self, document: Any) -> None:
        self._styles = {style.style_id: style for style in document.styles}
        self._formats = _number_formats(document)

    def pieces(self, container: Element) -> Iterator[Piece]:
        for element in container:
            if element.tag == f"{_W}p":
                yield self._paragraph(element)
                for box in element.iter(f"{_W}txbxContent"):
                    if not any(parent.tag in _REMOVED for parent in box.iterancestors()):
                        yield from self.pieces(box)
            elif element.tag == f"{_W}tbl":
                yield from self._table(element)
            elif element.tag in _TRANSPARENT:
                yield from self.pieces(element)

    def _paragraph(self, element: Element) -> Piece:
        text = _text(element).strip()
        style = self._styles.get(_value(element, "pPr/pStyle"))
        name = (style.name or "").lower() if style is not None else ""
        if name == "title" or name.startswith("heading "):
            level = name.removeprefix("heading ")
            return Piece(Kind.PARAGRAPH, text and markdown.heading(int(level) if level.isdigit() else 1, text))
        if name in _CODE_STYLES:
            return Piece(Kind.CODE, _text(element))
        number = self._numbering(element, style)
        if (number or name.startswith("list ")) and text:
            depth = int(_value(element, "pPr/numPr/ilvl") or 0)
            ordered = self._formats.get((number, depth), "decimal" if "number" in name else "bullet") != "bullet"
            return Piece(Kind.ITEM, markdown.item(text, depth, "1." if ordered else "-"))
        return Piece(Kind.PARAGRAPH, text)

    def _numbering(self, element: Element, style: Any) -> str:
        own = _value(element, "pPr/numPr/numId")
        if own or style is None:
            return "" if own == "0" else own
        return _value(style.element, "pPr/numPr/numId")

    def _table(self, element: Element) -> Iterator[Piece]:
        rows = [list(self._cells(row)) for row in element.iter(f"{_W}tr") if _table_of(row) is element]
        if max((len(row) for row in rows), default=0) < 2:
            for cell in element.iter(f"{_W}tc"):
                if _table_of(cell) is element:
                    yield from self.pieces(cell)
        else:
            yield Piece(Kind.PARAGRAPH, markdown.table(rows))

    def _cells(self, row: Element) -> Iterator[str]:
        for cell in row.iter(f"{_W}tc"):
            if _table_of(cell) is _table_of(row):
                yield " ".join(_text(paragraph) for paragraph in cell.iter(f"{_W}p"))
                yield from [""] * (min(int(_value(cell, "tcPr/gridSpan") or 1), 64) - 1)


def _table_of(element: Element) -> Element:
    return next(element.iterancestors(f"{_W}tbl"))


def _text(element: Element) -> str:
    parts: list[str] = []
    for child in element:
        if child.tag == f"{_W}t":
            parts.append(child.text or "")
        elif child.tag in _NOTES:
            parts.append(f"[^{_NOTES[child.tag][:1]}{child.get(f'{_W}id')}]")
        elif child.tag in _SIGNS and child.getparent().tag == f"{_W}r":
            parts.append(_SIGNS[child.tag])
        elif child.tag not in _REMOVED and child.tag != f"{_W}pPr":
            parts.append(_text(child))
    return "".join(parts)


def _value(element: Element, path: str) -> str:
    found = element.find("/".join(f"{_W}{name}" for name in path.split("/")))
    return "" if found is None else found.get(f"{_W}val", "")


def _number_formats(document: Any) -> dict[tuple[str, int], str]:
    """Return how each numbering counts at each level, ``bullet`` or the like; empty where the document has none."""
    if not any(relation.reltype.endswith("/numbering") for relation in document.part.rels.values()):
        return {}
    numbering = document.part.numbering_part.element
    abstract = {element.get(f"{_W}abstractNumId"): element for element in numbering.iter(f"{_W}abstractNum")}
    return {
        (number.get(f"{_W}numId"), int(level.get(f"{_W}ilvl"))): _value(level, "numFmt")
        for number in numbering.iter(f"{_W}num")
        for level in abstract.get(_value(number, "abstractNumId"), ())
        if level.tag == f"{_W}lvl"
    }


def _notes(package: Package, kind: str) -> Iterator[str]:
    name = f"word/{kind}.xml"
    for note in parse_xml(package.member(name)) if name in package.names else ():
        text = markdown.one_line(" ".join(_text(paragraph) for paragraph in note.iter(f"{_W}p")))
        if text and note.get(f"{_W}type", "normal") == "normal":
            yield f"[^{kind[:1]}{note.get(f'{_W}id')}]: {text}"
