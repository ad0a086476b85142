"""OpenDocument: text (odt) with headings, lists and tables; sheets (ods) as tables; slides (odp) under their titles."""

from collections.abc import Iterator

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers import markdown
from forge_pipelines.sources.readers.elements import Element, Role, Vocabulary, local_name
from forge_pipelines.sources.readers.package import Package
from forge_pipelines.sources.readers.reading import Reading
from forge_pipelines.sources.readers.safe_xml import parse_xml

_MANIFEST = "META-INF/manifest.xml"
_SKIPPED = "tracked-changes annotation sequence-decls variable-decls user-field-decls forms desc scripts"
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_DRAW = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
_PRESENTATION = "{urn:oasis:names:tc:opendocument:xmlns:presentation:1.0}"
_MOST_COLUMNS = 1024


def _level(element: Element, _: int) -> int:
    return int(element.get(f"{_TEXT}outline-level") or 2)


_WORDS = Vocabulary(
    {
        **dict.fromkeys(_SKIPPED.split(), Role.SKIPPED),
        **{"h": Role.TITLE, "p": Role.PARAGRAPH, "list": Role.LIST, "list-item": Role.ITEM, "list-header": Role.ITEM},
        **{"table": Role.TABLE, "table-row": Role.ROW, "table-cell": Role.CELL, "covered-table-cell": Role.CELL},
        **{"s": Role.SPACE, "tab": Role.SPACE, "line-break": Role.BREAK, "note-body": Role.ASIDE},
        **{"note-citation": Role.SKIPPED, "text-box": Role.PARAGRAPH, "frame": Role.PARAGRAPH, "notes": Role.QUOTE},
    },
    _level,
)


def read(package: Package) -> Reading:
    """Return the document's text; comments and what was deleted under tracked changes are left out.

    Raises:
        ItemError: the document is damaged or encrypted.
    """
    if _MANIFEST in package.names and b"encryption-data" in package.member(_MANIFEST):
        raise ItemError("encrypted", "is encrypted; save it without a password")
    media_type = package.member("mimetype").decode("ascii", "replace").strip()
    body = parse_xml(package.member("content.xml")).find("{*}body")
    if body is None or len(body) == 0:
        raise ItemError("damaged", "is a damaged OpenDocument file: it has no body")
    return Reading(markdown.join(_parts(body[0])), media_type)


def _parts(content: Element) -> Iterator[str]:
    kind = local_name(content)
    if kind == "spreadsheet":
        for sheet in content.iterfind(f"{_TABLE}table"):
            table = markdown.table(_rows(sheet))
            yield from [markdown.heading(2, sheet.get(f"{_TABLE}name", "")), table] if table else []
    elif kind == "presentation":
        for number, slide in enumerate(content.iterfind(f"{_DRAW}page"), 1):
            yield from _slide(slide, number)
    else:
        yield _WORDS.markdown(content)


def _rows(sheet: Element) -> Iterator[list[str]]:
    for row in sheet.iter(f"{_TABLE}table-row"):
        cells: list[str] = []
        for cell in row:
            times = int(cell.get(f"{_TABLE}number-columns-repeated") or 1) if isinstance(cell.tag, str) else 0
            cells += [markdown.one_line(_WORDS.markdown(cell))] * min(times, _MOST_COLUMNS)
        times = int(row.get(f"{_TABLE}number-rows-repeated") or 1)
        yield from [cells] * (min(times, _MOST_COLUMNS) if any(cells) else 1)


def _slide(slide: Element, number: int) -> Iterator[str]:
    titles = [frame for frame in slide if frame.get(f"{_PRESENTATION}class") == "title"]
    title = " ".join(markdown.one_line(_WORDS.markdown(frame)) for frame in titles)
    for frame in titles:
        slide.remove(frame)
    text = _WORDS.markdown(slide)
    if title or text:
        yield markdown.heading(2, title or f"Slide {number}")
    yield text
