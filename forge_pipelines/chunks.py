"""Tables that a stage remembers from one run to the next, in small Parquet files that are damaged or whole, never torn.

A chunk's name ends with the hash of what it holds. One that a fault has damaged is dropped when it is looked at, and
what it held is found out again.
"""

import hashlib
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


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


def read_columns(path: Path, columns: list[str]) -> pa.Table | None:
    """Return some columns of a chunk, whose hash is not looked at; None, and it is dropped, if it is no Parquet."""
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            return file.read(columns=columns)
    except (pa.ArrowInvalid, OSError):  # torn by a fault of the machine
        path.unlink(missing_ok=True)
        return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
