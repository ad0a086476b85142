"""Which format a data set is in, told by its content. A new one is a file beside this one and a line here."""

from collections.abc import Collection

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers.reading import Content
from forge_pipelines.sources.readers.record_arrow import arrow_table, is_arrow
from forge_pipelines.sources.readers.record_json import array_table, is_array, is_lines, lines_table
from forge_pipelines.sources.readers.record_sheets import delimited_table, workbook_table
from forge_pipelines.sources.readers.record_stream import HEAD_BYTES, head_of, unpacked
from forge_pipelines.sources.readers.record_table import Table

_ZIP = b"PK\x03\x04"


def open_table(content: Content, known: Collection[str]) -> Table:
    """Return a file's records: Parquet, Arrow, JSON lines, a JSON list, CSV, TSV or Excel, each perhaps gzipped.

    Args:
        content: the file.
        known: columns that are meant or usual, by which a CSV file of one column is told from prose.

    Raises:
        ItemError: the file is no data set, or is damaged at its beginning.
    """
    table = _table(content, head_of(content), known)
    if table is None:
        kinds = "neither Parquet, Arrow, JSON lines, a JSON list of objects, CSV or TSV with a header, nor Excel"
        raise ItemError("not_records", f"holds no records: it is {kinds}; leave it out with `records.exclude`")
    return table


def _table(content: Content, head: bytes, known: Collection[str]) -> Table | None:
    if is_arrow(head):
        return arrow_table(unpacked(content))
    if head.startswith(_ZIP):
        return workbook_table(unpacked(content))
    if is_lines(head, whole=len(head) < HEAD_BYTES):
        return lines_table(content)
    if is_array(head):
        return array_table(content)
    return delimited_table(content, head, known)
