"""Archives that are no documents, ZIP and tar: the files that they hold, one by one, in the archive's order.

What a folder passes over is passed over here: hidden files, whose path has a part that begins with a dot, and those
that macOS adds (`__MACOSX`).
"""

import io
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain

from forge_pipelines.sources.place import ItemError
from forge_pipelines.sources.readers.package import DAMAGES, is_bounded, is_encrypted
from forge_pipelines.sources.readers.reading import Contents, Member
from forge_pipelines.sources.readers.unpacking import refuse_bomb

_MOST_FILES = 10_000
_TAR_SIGN = slice(257, 262)
_LEADS_OUT = re.compile(r"/|[A-Za-z]:|.*\\|(?:.*/)?\.\.(?:/|$)", re.DOTALL)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_UTF_8_NAME = 0x800
_SPECIAL = {
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

_Found = Iterator[tuple[str, Callable[[], bytes]]]
"""Files by their names (bytes that are no UTF-8 as surrogates), each with what gives its bytes."""


def accepts(head: bytes) -> bool:
    """Accept a tar archive of today's kinds: ustar, pax and GNU's."""
    return head[_TAR_SIGN] == b"ustar"


def read(content: bytes) -> Contents:
    """Return the files of a tar archive.

    Raises:
        ItemError: it is damaged from the beginning, or holds no files.
    """
    return _contents(_in_tar(content))


def read_zip(content: bytes, archive: zipfile.ZipFile) -> Contents:
    """Return the files of a ZIP archive.

    Raises:
        ItemError: it holds no files.
    """
    return _contents(_in_zip(archive, len(content)))


def _contents(found: _Found) -> Contents:
    members = _members(found)
    first = next(members, None)
    if first is None:
        raise ItemError("empty", "is an archive that holds no files, or only hidden ones")
    return Contents(None, chain([first], members))


def _members(found: _Found) -> Iterator[Member]:
    num_files = 0
    for name, load in found:
        parts = [part for part in name.split("/") if part not in {"", "."}]
        leads_out = _LEADS_OUT.match(name) is not None
        if not leads_out and (parts[:1] == ["__MACOSX"] or any(part.startswith(".") for part in parts)):
            continue
        num_files += 1
        if num_files > _MOST_FILES:
            raise ItemError("bomb", f"holds more than {_MOST_FILES:,} files; unpack it")
        path = f"!/{_shown(name if leads_out else '/'.join(parts))}"
        yield Member(path, _refuse_name if leads_out else load)


def _refuse_name() -> bytes:
    reason = "has a name that leads out of its archive (absolute, «..», a drive, a backslash); pack it under another"
    raise ItemError("traversal", reason)


def _shown(name: str) -> str:
    encoded = name.encode("utf-8", "surrogateescape")
    return _CONTROLS.sub("\ufffd", encoded.decode("utf-8", "backslashreplace"))


def _in_zip(archive: zipfile.ZipFile, num_bytes: int) -> _Found:
    for member in archive.infolist():
        if not member.is_dir():
            yield _zip_name(member), partial(_load_from_zip, archive, member, num_bytes)


def _zip_name(member: zipfile.ZipInfo) -> str:
    """Return the name; many that do not say so are UTF-8, and the others are taken for code page 437."""
    if member.flag_bits & _UTF_8_NAME:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename


def _load_from_zip(archive: zipfile.ZipFile, member: zipfile.ZipInfo, num_bytes: int) -> bytes:
    kind = _SPECIAL.get(stat.S_IFMT(member.external_attr >> 16))
    if kind is not None:
        raise ItemError("not_a_file", f"is {kind}, not a file")
    if is_encrypted(member):
        raise ItemError("encrypted", "is encrypted; pack it without a password")
    if not is_bounded(member):
        raise ItemError("unsupported", "is packed by a method that is not read; pack it by deflate, ZIP's usual one")
    refuse_bomb(num_bytes, member.file_size)
    try:
        with archive.open(member) as file:
            content = file.read(member.file_size + 1)
    except DAMAGES as error:
        raise ItemError("damaged", f"is damaged in its archive: {error}") from error
    return _whole(content, member.file_size)


def _whole(content: bytes, num_bytes: int) -> bytes:
    if len(content) != num_bytes:
        reason = f"has {len(content):,} bytes where its archive declares {num_bytes:,}; pack it again"
        raise ItemError("damaged", reason)
    return content


def _in_tar(content: bytes) -> _Found:
    try:
        file = io.BytesIO(content)
        # Not closed: members may be loaded after the last is found.
        archive = tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        for member in _headers(archive):
            if not member.isdir():
                yield member.name, partial(_load_from_tar, archive, member, len(content))
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise ItemError("damaged", f"is a damaged tar archive: {error}; copy it again") from error
    rest = content[archive.offset :]
    if not rest or rest.strip(b"\0"):  # tarfile ends silently at a header that it cannot read
        raise ItemError("damaged", "is a tar archive that is damaged or ends too soon; copy it again")


def _headers(archive: tarfile.TarFile) -> Iterable[tarfile.TarInfo]:
    return iter(archive.next, None)


def _load_from_tar(archive: tarfile.TarFile, member: tarfile.TarInfo, num_bytes: int) -> bytes:
    if not member.isreg():
        kind = "a link" if member.issym() or member.islnk() else "a device or a pipe"
        raise ItemError("not_a_file", f"is {kind}, not a file")
    refuse_bomb(num_bytes, member.size)
    file = archive.extractfile(member)
    assert file is not None, "tarfile opens every regular file"
    try:
        return _whole(file.read(member.size + 1), member.size)
    except tarfile.TarError as error:
        raise ItemError("damaged", f"is damaged in its archive: {error}") from error
