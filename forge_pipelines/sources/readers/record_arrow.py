"""Records as Parquet and Arrow: read by the batch, and of a wide table only the columns that are needed."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from forge_pipelines.sources.place import ItemError, Refusal
from forge_pipelines.sources.readers.reading import Content
from forge_pipelines.sources.readers.record_table import Row, Table

PARQUET_MEDIA_TYPE = "application/vnd.apache.parquet"
FILE_MEDIA_TYPE = "application/vnd.apache.arrow.file"
STREAM_MEDIA_TYPE = "application/vnd.apache.arrow.stream"
_PARQUET, _FILE, _STREAM = b"PAR1", b"ARROW1\0\0", b"\xff\xff\xff\xff"
_BATCH_ROWS = 256
_BATCH_BYTES = 4 << 20
_CONVERTED_ROWS = 32
_BUFFER_BYTES = 1 << 20


def is_arrow(head: bytes) -> bool:
    """Tell whether this is the beginning of a Parquet file, an Arrow file or an Arrow stream."""
    return head.startswith((_PARQUET, _FILE)) or _is_stream(head)


def arrow_table(content: Content) -> Table:
    """Return the records of a file that `is_arrow`.

    Raises:
        ItemError: it is damaged.
    """
    with _opened(content) as file:
        head = file.read(16)
    if head.startswith(_PARQUET):
        return Table(PARQUET_MEDIA_TYPE, _parquet_columns(content), True, partial(_parquet_rows, content))
    media_type = FILE_MEDIA_TYPE if head.startswith(_FILE) else STREAM_MEDIA_TYPE
    with _opened(content) as file, _sound("Arrow"):
        columns = tuple(_batches(file, media_type)[0].names)
    return Table(media_type, columns, True, partial(_arrow_rows, content, media_type))


def _is_stream(head: bytes) -> bool:
    """Tell whether this begins as `encapsulated messages`_: the mark, then the length of a small schema.

    .. _encapsulated messages: https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format
    """
    return head.startswith(_STREAM) and 0 < int.from_bytes(head[4:8], "little", signed=True) < 1 << 26


def _parquet_columns(content: Content) -> tuple[str, ...]:
    with _opened(content) as file, _sound("Parquet"):
        return tuple(_parquet(file).schema_arrow.names)


def _parquet_rows(content: Content, wanted: Collection[str] | None) -> Iterator[Row | Refusal]:
    with _opened(content) as file, _sound("Parquet"):
        columns = None if wanted is None else sorted(wanted)
        parquet = _parquet(file)
        for batch in parquet.iter_batches(_batch_rows(parquet.metadata), columns=columns, use_threads=False):
            yield from _converted(batch)


def _batch_rows(metadata: Any) -> int:
    """Return how many rows are about 4 MiB, by what the file says of its groups of rows."""
    num_bytes: int = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    num_rows: int = metadata.num_rows
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES * num_rows // max(num_bytes, 1)))


def _parquet(file: Any) -> Any:
    import pyarrow.parquet

    # Without a buffer and with pre_buffer whole columns of a row group would be held before they are decoded.
    return pyarrow.parquet.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)


def _arrow_rows(content: Content, media_type: str, wanted: Collection[str] | None) -> Iterator[Row | Refusal]:
    with _opened(content) as file, _sound("Arrow"):
        schema, batches = _batches(file, media_type)
        columns = [name for name in schema.names if wanted is None or name in wanted]
        for batch in batches:
            chosen = batch.select(columns)
            chosen.validate(full=True)  # offsets that lead out of the file would be followed
            for start in range(0, chosen.num_rows, _BATCH_ROWS):
                yield from _converted(chosen.slice(start, _BATCH_ROWS))


def _batches(file: Any, media_type: str) -> tuple[Any, Iterator[Any]]:
    import pyarrow.ipc

    if media_type == STREAM_MEDIA_TYPE:
        stream = pyarrow.ipc.open_stream(file)
        return stream.schema, iter(stream)
    reader = pyarrow.ipc.open_file(file)
    return reader.schema, (reader.get_batch(number) for number in range(reader.num_record_batches))


def _converted(batch: Any) -> Iterator[Row | Refusal]:
    for start in range(0, batch.num_rows, _CONVERTED_ROWS):
        some = batch.slice(start, _CONVERTED_ROWS)
        try:
            yield from some.to_pylist()
        except UnicodeDecodeError:
            yield from (_row(some, number) for number in range(some.num_rows))


def _row(batch: Any, number: int) -> Row | Refusal:
    try:
        row: Row = batch.slice(number, 1).to_pylist()[0]
    except UnicodeDecodeError as error:
        return Refusal("not_text", f"is not UTF-8: {error.reason} at byte {error.start}")
    return row


@contextmanager
def _opened(content: Content) -> Iterator[Any]:
    import pyarrow as pa

    # As a map, a file that is one batch is never held: its pages come and go.
    source = pa.memory_map(str(content)) if isinstance(content, Path) else pa.BufferReader(content)
    with source as file:
        yield file


@contextmanager
def _sound(kind: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except MemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        said = str(error).partition("\n")[0][:150]
        raise ItemError("damaged", f"is a damaged {kind} file: {said}; copy it again") from error
