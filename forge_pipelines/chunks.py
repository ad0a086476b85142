"""Tables that a stage remembers from one run to the next, in small Parquet files that are damaged or whole, never torn.

A chunk's name ends with the hash of what it holds. One that a fault has damaged is dropped when it is looked at, and
what it held is found out again.
"""

import hashlib
import io
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_NAME = re.compile(r"[0-9-]+-[0-9a-f]{32}\.parquet")


class ForgottenError(Exception):
    """What was known is known no more: a chunk is damaged, and has been dropped."""


def write_chunk(folder: Path, prefix: str, table: pa.Table) -> Path:
    """Write a table to a file of its own, ``<prefix>-<hash>.parquet``, and return its path.

    Raises:
        OSError: the disk is full; no chunk is there then.
    """
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=False, write_statistics=False)
    content = buffer.getvalue()
    path = folder / f"{prefix}-{_digest(content)}.parquet"
    part = path.with_suffix(".part")
    part.write_bytes(content)
    return part.replace(path)


def read_chunk(path: Path) -> pa.Table:
    """Return the table of a chunk.

    Raises:
        ForgottenError: it is damaged.
    """
    content = path.read_bytes()
    if _digest(content) != path.stem.rpartition("-")[2]:
        path.unlink()
        raise ForgottenError(path.name)
    with pq.ParquetFile(pa.BufferReader(content)) as file:
        return file.read()


def chunks_in(folder: Path) -> list[Path]:
    """Return the chunks of a folder, by their names; what a killed run left half written is removed, others stay."""
    for part in folder.glob("*.part"):
        part.unlink(missing_ok=True)
    return sorted(path for path in folder.glob("*.parquet") if _NAME.fullmatch(path.name))


def read_columns(path: Path, schema: pa.Schema) -> pa.Table | None:
    """Return some columns of a chunk, whose hash is not looked at; None, and it is dropped, if it has no such ones."""
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            table = file.read(columns=schema.names)
            if table.schema.equals(schema) and not any(column.null_count for column in table.columns):
                return table
    except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError):  # torn by a fault of the machine
        pass
    path.unlink(missing_ok=True)
    return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
