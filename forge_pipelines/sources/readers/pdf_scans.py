"""Pages of a PDF without text: whether they show anything, and the text that is recognised in what they show."""

from itertools import islice
from typing import Any

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers import ocr
from forge_pipelines.sources.readers.picture import as_png

_DOTS_PER_INCH = 200
_POINTS_PER_INCH = 72
_MOST_PIXELS = 40_000_000
_FEWEST_DRAWN = 16
"""Letters may be drawn as lines; a frame or a few rules are no text."""


def shows_something(page: Any) -> bool:
    """Tell whether a page without text shows a picture, or drawings that may be letters."""
    from pypdfium2 import raw

    if next(page.get_objects([raw.FPDF_PAGEOBJ_IMAGE]), None) is not None:
        return True
    drawn = page.get_objects([raw.FPDF_PAGEOBJ_PATH, raw.FPDF_PAGEOBJ_SHADING])
    return sum(1 for _ in islice(drawn, _FEWEST_DRAWN)) == _FEWEST_DRAWN


def recognised(page: Any) -> str:
    """Return the text that is recognised in a page.

    Raises:
        ItemError: the page cannot be drawn, there is no command that recognises text, or it failed.
    """
    from pypdfium2 import PdfiumError

    if not ocr.is_configured():
        raise ItemError("needs_ocr", f"is a page without text; {ocr.REMEDY}")
    try:
        png = _png(page)
    except PdfiumError as error:
        raise ItemError("damaged", f"is a page that cannot be drawn: {error}") from error
    return ocr.recognise(png)


def _png(page: Any) -> bytes:
    width, height = page.get_size()
    scale = min(_DOTS_PER_INCH / _POINTS_PER_INCH, (_MOST_PIXELS / max(width * height, 1)) ** 0.5)
    bitmap = page.render(scale=scale, grayscale=True)
    try:
        return as_png(bitmap.to_pil())
    finally:
        bitmap.close()
