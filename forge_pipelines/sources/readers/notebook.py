"""Jupyter notebooks: text as it stands, code in fences, and what the code printed."""

import json
from collections.abc import Iterator
from typing import Any

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers import markdown, text
from forge_pipelines.sources.readers.encoding import decode
from forge_pipelines.sources.readers.reading import Reading

MEDIA_TYPE = "application/x-ipynb+json"
_SIGNS = (b'"cell_type"', b'"nbformat"')


def accepts(head: bytes) -> bool:
    """Accept JSON that speaks of cells or of the notebooks' format at once."""
    return head.lstrip().startswith(b"{") and any(sign in head for sign in _SIGNS)


def read(content: bytes) -> Reading:
    """Return the cells; other JSON is plain text.

    Raises:
        ItemError: the notebook is damaged.
    """
    try:
        notebook = json.loads(decode(content))
    except (ValueError, RecursionError) as error:
        raise ItemError("damaged", f"is a damaged notebook: {error}") from error
    if "nbformat" not in notebook:
        return text.read(content)
    try:
        cells = notebook["cells"] if "cells" in notebook else notebook["worksheets"][0]["cells"]
        language = notebook.get("metadata", {}).get("language_info", {}).get("name", "python")
        return Reading(markdown.join(block for cell in cells for block in _cell(cell, language)), MEDIA_TYPE)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ItemError("damaged", f"is a damaged notebook: {type(error).__name__}: {error}") from error


def _cell(cell: dict[str, Any], language: str) -> Iterator[str]:
    source = _text(cell.get("source", cell.get("input", "")))
    if cell["cell_type"] != "code":
        yield source
        return
    if source.strip():
        yield markdown.fence(source, language)
    for output in cell.get("outputs", []):
        shown = _text(output.get("text") or output.get("data", {}).get("text/plain", ""))
        if shown.strip():
            yield markdown.fence(shown)


def _text(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)
