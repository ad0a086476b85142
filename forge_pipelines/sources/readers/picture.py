"""Pictures of text (PNG, JPEG, TIFF): scans and photographs, whose text is recognised."""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers import markdown, ocr
from forge_pipelines.sources.readers.reading import Reading

if TYPE_CHECKING:
    from PIL.Image import Image

_KINDS = (
    (b"\x89PNG", "PNG", "image/png"),
    (b"\xff\xd8\xff", "JPEG", "image/jpeg"),
    (b"II*\0", "TIFF", "image/tiff"),
    (b"MM\0*", "TIFF", "image/tiff"),
)

_KNOWN_TO_PNG = ("1", "L", "P", "RGB")


def accepts(head: bytes) -> bool:
    """Accept what begins as one of these pictures does."""
    return any(head.startswith(start) for start, _, _ in _KINDS)


def read(content: bytes) -> Reading:
    """Return the text in the picture; of a TIFF, in all its pages.

    Raises:
        ItemError: it is damaged or too large, there is no command that recognises text, or the command failed.
    """
    kind, media_type = next((kind, media_type) for start, kind, media_type in _KINDS if content.startswith(start))
    if not ocr.is_configured():
        raise ItemError("needs_ocr", f"is a picture ({kind}); {ocr.REMEDY}")
    return Reading(markdown.join(ocr.recognise(page) for page in _pages(content, kind)), media_type)


def _pages(content: bytes, kind: str) -> Iterator[bytes]:
    from PIL import Image, ImageSequence

    try:
        with Image.open(io.BytesIO(content), formats=[kind]) as picture:
            for page in ImageSequence.Iterator(picture) if kind == "TIFF" else [picture]:
                _refuse_large(page.width * page.height)
                yield as_png(page)
    except Image.DecompressionBombError as error:
        raise ItemError("bomb", f"is a picture ({kind}) that would need too much memory: {error}") from error
    except (OSError, SyntaxError, EOFError) as error:
        raise ItemError("damaged", f"is a damaged picture ({kind}): {error}") from error


def _refuse_large(num_pixels: int) -> None:
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    assert limit is not None, "Pillow bounds pictures unless it is told not to"
    if num_pixels > limit:
        raise ItemError("bomb", f"is a picture of {num_pixels:,} pixels, more than {limit:,}; make it smaller")


def as_png(picture: "Image") -> bytes:
    """Return a picture as PNG, upright; in colours that PNG knows."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(picture)
    file = io.BytesIO()
    (upright if upright.mode in _KNOWN_TO_PNG else upright.convert("RGB")).save(file, "PNG", compress_level=1)
    return file.getvalue()
