"""ZIP archives: opened without unpacking, and documents that are such archives, bounded before anything is unpacked."""

import io
import zipfile
import zlib
from dataclasses import dataclass

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers.unpacking import refuse_bomb

_MOST_PARTS = 10_000
_ENCRYPTED = 1
_BY_THE_PIECE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
DAMAGES = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)
"""What unpacking a damaged member raises."""


@dataclass(frozen=True, slots=True)
class Package:
    """A document's archive within bounds: what its parts declare is what they may at most become."""

    content: bytes
    archive: zipfile.ZipFile
    names: frozenset[str]

    def file(self) -> io.BytesIO:
        """Return the whole archive, for a library that opens it itself."""
        return io.BytesIO(self.content)

    def member(self, name: str) -> bytes:
        """Return a part's bytes.

        Raises:
            ItemError: there is no such part, or it is damaged.
        """
        try:
            return self.archive.read(name)
        except KeyError as error:
            raise ItemError("damaged", f"lacks its part {name}") from error
        except DAMAGES as error:
            raise ItemError("damaged", f"has a damaged part {name}: {error}") from error


def open_archive(content: bytes) -> zipfile.ZipFile:
    """Open a ZIP archive; its members may be anything.

    Raises:
        ItemError: its directory is damaged.
    """
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise ItemError("damaged", f"is a damaged ZIP archive: {error}; copy it again") from error


def open_package(content: bytes, archive: zipfile.ZipFile) -> Package:
    """Return a document's archive, whose parts are needed all.

    Raises:
        ItemError: it is encrypted, or would become too large.
    """
    parts = archive.infolist()
    if any(is_encrypted(part) for part in parts):
        raise ItemError("encrypted", "is encrypted; save it without a password")
    if not all(is_bounded(part) for part in parts):
        raise ItemError("damaged", "is packed in a way that documents are not; save it again")
    if len(parts) > _MOST_PARTS:
        raise ItemError("bomb", f"holds {len(parts):,} parts, more than {_MOST_PARTS:,}")
    refuse_bomb(len(content), sum(part.file_size for part in parts))
    return Package(content, archive, frozenset(part.filename for part in parts))


def is_encrypted(member: zipfile.ZipInfo) -> bool:
    """Tell whether a member needs a password."""
    return bool(member.flag_bits & _ENCRYPTED)


def is_bounded(member: zipfile.ZipInfo) -> bool:
    """Tell whether a member unpacks by the piece: by other methods than deflate it gives all that it holds at once."""
    return member.compress_type in _BY_THE_PIECE
