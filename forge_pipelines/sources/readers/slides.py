"""PowerPoint's documents (pptx): each slide's title, text, tables and notes."""

from collections.abc import Iterable, Iterator
from typing import Any

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers import markdown
from forge_pipelines.sources.readers.markdown import Kind, Piece
from forge_pipelines.sources.readers.package import Package
from forge_pipelines.sources.readers.reading import Reading

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.presentationml.presentation"


def read(package: Package) -> Reading:
    """Return the text of all slides in their order.

    Raises:
        ItemError: the document is damaged.
    """
    import pptx
    from lxml.etree import XMLSyntaxError  # type: ignore[import-untyped]
    from pptx.exc import PythonPptxError

    try:
        slides = list(pptx.Presentation(package.file()).slides)
    except (PythonPptxError, KeyError, ValueError, XMLSyntaxError) as error:
        raise ItemError("damaged", f"is a damaged PowerPoint document: {error}") from error
    pieces = (piece for number, slide in enumerate(slides, 1) for piece in _slide(slide, number))
    return Reading(markdown.join_pieces(pieces), MEDIA_TYPE)


def _slide(slide: Any, number: int) -> Iterator[Piece]:
    title = slide.shapes.title
    text = markdown.one_line(title.text_frame.text) if title is not None else ""
    pieces = [piece for piece in _shapes(slide.shapes, title) if piece.text.strip()]
    notes = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
    if notes is not None and notes.text.strip():
        pieces.append(Piece(Kind.PARAGRAPH, f"Notes: {notes.text.strip()}"))
    if text or pieces:
        yield Piece(Kind.PARAGRAPH, markdown.heading(2, text or f"Slide {number}"))
    yield from pieces


def _shapes(shapes: Iterable[Any], title: Any) -> Iterator[Piece]:
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _shapes(shape.shapes, title)
        elif shape.has_table:
            rows = [[cell.text for cell in row.cells] for row in shape.table.rows]
            yield Piece(Kind.PARAGRAPH, markdown.table(rows))
        elif shape.has_text_frame and (title is None or shape.shape_id != title.shape_id):
            yield from _paragraphs(shape)


def _paragraphs(shape: Any) -> Iterator[Piece]:
    paragraphs = [paragraph for paragraph in shape.text_frame.paragraphs if paragraph.text.strip()]
    listed = shape.is_placeholder and len(paragraphs) > 1
    for paragraph in paragraphs:
        text = paragraph.text.replace("\v", "\n").strip()
        yield Piece(Kind.ITEM, markdown.item(text, paragraph.level)) if listed else Piece(Kind.PARAGRAPH, text)
