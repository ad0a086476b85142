"""Documents that are ZIP archives: opened once, their sizes bounded before anything is unpacked, nothing on disk."""

import io
import zipfile
import zlib
from dataclasses import dataclass

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers.unpacking import refuse_bomb

_MOST_MEMBERS = 10_000
_ENCRYPTED = 1


@dataclass(frozen=True, slots=True)
class Package:
    """An archive within bounds: what its members declare is what they may at most become."""

    content: bytes
    archive: zipfile.ZipFile
    names: frozenset[str]

    def file(self) -> io.BytesIO:
        """Return the whole archive, for a library that opens it itself."""
        return io.BytesIO(self.content)

    def member(self, name: str) -> bytes:
        """Return a member's bytes.

        Raises:
            ItemError: there is no such member, or it is damaged.
        """
        try:
            return self.archive.read(name)
        except KeyError as error:
            raise ItemError("damaged", f"lacks its part {name}") from error
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ItemError("damaged", f"has a damaged part {name}: {error}") from error


def open_package(content: bytes) -> Package:
    """Open an archive.

    Raises:
        ItemError: it is damaged, encrypted, or would become too large.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise ItemError("damaged", f"is a damaged ZIP archive: {error}; copy it again") from error
    members = archive.infolist()
    if any(member.flag_bits & _ENCRYPTED for member in members):
        raise ItemError("encrypted", "is encrypted; save it without a password")
    # Only deflate unpacks by the piece: the other methods give out whatever they hold at once.
    if any(member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} for member in members):
        raise ItemError("damaged", "is packed in a way that documents are not; save it again")
    if len(members) > _MOST_MEMBERS:
        raise ItemError("bomb", f"holds {len(members):,} parts, more than {_MOST_MEMBERS:,}")
    refuse_bomb(len(content), sum(member.file_size for member in members))
    return Package(content, archive, frozenset(member.filename for member in members))
