"""Excel's documents (xlsx): each sheet a table of values under its name."""

from collections.abc import Iterator
from datetime import datetime, time
from itertools import islice
from typing import Any

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers import markdown
from forge_pipelines.sources.readers.package import Package
from forge_pipelines.sources.readers.reading import Reading

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_MOST_ROWS = 1_048_576


def read(package: Package) -> Reading:
    """Return the sheets; of a formula, the value that was saved with it.

    Raises:
        ItemError: the workbook is damaged.
    """
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = openpyxl.load_workbook(package.file(), read_only=True, data_only=True)
        blocks = [block for sheet in book.worksheets for block in _sheet(sheet)]
    except (InvalidFileException, KeyError, ValueError, SyntaxError) as error:
        raise ItemError("damaged", f"is a damaged Excel document: {str(error).partition(chr(10))[0]}") from error
    return Reading(markdown.join(blocks), MEDIA_TYPE)


def _sheet(sheet: Any) -> list[str]:
    table = markdown.table(_rows(sheet))
    return [markdown.heading(2, sheet.title), table] if table else []


def _rows(sheet: Any) -> Iterator[list[str]]:
    sheet.reset_dimensions()  # what the sheet declares may be a million empty columns
    for row in islice(sheet.iter_rows(values_only=True), _MOST_ROWS):
        if any(value is not None for value in row):
            yield [_shown(value) for value in row]


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and value.time() == time():
        return str(value.date())
    return str(value)
