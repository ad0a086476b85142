"""What archives promise: every file in them is read as it would be beside them, and a bad one harms no other."""

import bz2
import io
import lzma
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable

import document_samples as samples
import pytest
from reading_files import read_parts, read_texts, refused

from forge_pipelines.sources.place import Refusal
from forge_pipelines.sources.readers import registry
from forge_pipelines.sources.readers.reading import Contents, Member, Part, ReadingOptions, Resume
from forge_pipelines.sources.readers.unfolding import read

Files = dict[str, bytes | str]
FILES: Files = {"b/page.md": "# Page\n", "a.txt": "First.", "c/deep/report.docx": samples.word()}
TEXTS = {"!/b/page.md": "# Page\n", "!/a.txt": "First.", "!/c/deep/report.docx": samples.WORD_TEXT}


def tar(members: Files | list[tarfile.TarInfo], kind: int = tarfile.PAX_FORMAT, encoding: str = "utf-8") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind, encoding=encoding) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                content = members[member]  # type: ignore[call-overload]
                raw = content.encode() if isinstance(content, str) else content
                entry = tarfile.TarInfo(member)
                entry.size = len(raw)
                archive.addfile(entry, io.BytesIO(raw))
    return file.getvalue()


def entry(name: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "a.txt"
    return member


def zip_with(name: str, content: bytes = b"text", mode: int = 0) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        archive.writestr(member, content)
        archive.writestr("good.txt", "Good.")
    return file.getvalue()


def encrypted(archive: bytes) -> bytes:
    """Return a ZIP archive whose first member says that it needs a password."""
    content = bytearray(archive)
    for sign, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(sign) + place] |= 1
    return bytes(content)


def reason(content: bytes, path: str) -> tuple[str, str]:
    refusal = read_parts(content)[path]
    assert isinstance(refusal, Refusal)
    return refusal.rule, refusal.reason


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(samples.zipped, id="zip"),
        pytest.param(lambda files: samples.zipped(files, zipfile.ZIP_STORED), id="zip-stored"),
        pytest.param(lambda files: tar(files, tarfile.USTAR_FORMAT), id="tar-ustar"),
        pytest.param(lambda files: tar(files, tarfile.PAX_FORMAT), id="tar-pax"),
        pytest.param(lambda files: tar(files, tarfile.GNU_FORMAT), id="tar-gnu"),
        pytest.param(lambda files: samples.gzipped(tar(files)), id="tar-gz"),
        pytest.param(lambda files: bz2.compress(tar(files)), id="tar-bz2"),
        pytest.param(lambda files: lzma.compress(tar(files)), id="tar-xz"),
    ],
)
def test_every_file_in_an_archive_is_read_in_the_archives_order(pack: Callable[[Files], bytes]) -> None:
    content = pack(FILES)
    parts = [part for part in read(content, ReadingOptions()) if isinstance(part, Part)]
    assert parts[0].outcome is None
    assert [(part.path, part.parent) for part in parts[1:]] == [(path, "") for path in TEXTS]
    assert read_texts(content) == TEXTS


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress, lambda content: bz2.compress(content[:9]) * 2])
def test_a_single_packed_file_is_read_as_what_it_packs(pack: Callable[[bytes], bytes]) -> None:
    content = b"A log, and another line."
    assert read_texts(pack(content))[""] in {content.decode(), content[:9].decode() * 2}


def test_archives_within_archives_are_read_four_deep_and_no_deeper() -> None:
    nested = samples.zipped({"5.txt": "At 5."})
    for depth in range(4, 0, -1):
        nested = samples.zipped({f"{depth}.txt": f"At {depth}.", "next.zip": nested})
    assert read_texts(nested) == {
        "!/1.txt": "At 1.",
        "!/next.zip!/2.txt": "At 2.",
        "!/next.zip!/next.zip!/3.txt": "At 3.",
        "!/next.zip!/next.zip!/next.zip!/4.txt": "At 4.",
        "!/next.zip!/next.zip!/next.zip!/next.zip!/5.txt": "<bomb>",
    }


@pytest.mark.parametrize("pack", [samples.zipped, tar])
@pytest.mark.parametrize(
    "name", ["../x.txt", "a/../../x.txt", "/etc/passwd", "C:/x.txt", "a\\x.txt", "\\\\host\\x.txt", ".."]
)
def test_a_name_that_leads_out_is_refused_alone(pack: Callable[[Files], bytes], name: str) -> None:
    content = pack({name: "evil", "good.txt": "Good."})
    assert read_texts(content) == {f"!/{name}": "<traversal>", "!/good.txt": "Good."}
    assert "has a name that leads out of its archive" in reason(content, f"!/{name}")[1]


@pytest.mark.parametrize("pack", [samples.zipped, tar])
def test_hidden_files_are_passed_over_as_in_folders(pack: Callable[[Files], bytes]) -> None:
    files: Files = {".hidden": "x", "a/.git/config": "x", "__MACOSX/a.txt": "x", "./good.txt": "Good."}
    assert read_texts(pack(files)) == {"!/good.txt": "Good."}


def test_folders_in_archives_are_no_files() -> None:
    assert read_texts(samples.zipped({"a/": "", "a/b.txt": "B."})) == {"!/a/b.txt": "B."}
    assert refused(tar([entry("a", tarfile.DIRTYPE)]))[0] == "empty"


@pytest.mark.parametrize("pack", [samples.zipped, tar])
@pytest.mark.parametrize("files", [{}, {".hidden": "x"}])
def test_an_archive_without_files_is_refused(pack: Callable[[Files], bytes], files: Files) -> None:
    rule, said = refused(pack({**files, **({} if pack is samples.zipped else {".also": "x"})}))
    assert (rule, said) == ("empty", "is an archive that holds no files, or only hidden ones")


def test_two_files_of_one_name_are_two_documents() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("a.txt", "One.")
        archive.writestr("a.txt", "Two.")
    assert read_texts(file.getvalue()) == {"!/a.txt": "One.", "!/a.txt~2": "Two."}


@pytest.mark.parametrize(
    ("name", "flagged", "shown"),
    [
        ("Größe.txt".encode("cp437"), False, "Größe.txt"),
        ("Größe.txt".encode(), False, "Größe.txt"),
        ("Größe.txt".encode(), True, "Größe.txt"),
        ("насос.txt".encode(), False, "насос.txt"),
    ],
)
def test_names_in_zip_archives_are_read_in_any_encoding(name: bytes, flagged: bool, shown: str) -> None:
    content = samples.zipped({"x" * len(name): "text"}).replace(b"x" * len(name), name)
    if flagged:
        for sign, place in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
            at = content.index(sign) + place
            content = content[:at] + bytes([content[at] | 0x08]) + content[at + 1 :]
    assert read_texts(content) == {f"!/{shown}": "text"}


def test_names_in_tar_archives_that_are_no_utf_8_are_shown_by_their_bytes() -> None:
    content = tar({"Größe.txt": "text", "a\tb.txt": "tab"}, tarfile.GNU_FORMAT, "latin-1")
    assert read_texts(content) == {"!/Gr\\xf6\\xdfe.txt": "text", "!/a\ufffdb.txt": "tab"}


@pytest.mark.parametrize(
    ("mode", "kind"),
    [(stat.S_IFLNK | 0o777, "a link"), (stat.S_IFIFO, "a pipe"), (stat.S_IFCHR, "a device"), (stat.S_IFREG, "")],
)
def test_links_and_devices_in_zip_archives_are_no_files(mode: int, kind: str) -> None:
    content = zip_with("odd", b"/etc/passwd", mode)
    expected = "<not_a_file>" if kind else "/etc/passwd"
    assert read_texts(content) == {"!/odd": expected, "!/good.txt": "Good."}
    if kind:
        assert reason(content, "!/odd")[1] == f"is {kind}, not a file"


def test_links_and_devices_in_tar_archives_are_no_files() -> None:
    kinds = {"s": tarfile.SYMTYPE, "h": tarfile.LNKTYPE, "c": tarfile.CHRTYPE, "f": tarfile.FIFOTYPE}
    content = tar([entry(name, kind) for name, kind in kinds.items()])
    assert read_texts(content) == {f"!/{name}": "<not_a_file>" for name in kinds}
    assert reason(content, "!/h")[1] == "is a link, not a file"


def test_an_encrypted_member_is_refused_alone() -> None:
    content = encrypted(samples.zipped({"secret.txt": "text", "good.txt": "Good."}))
    assert read_texts(content) == {"!/secret.txt": "<encrypted>", "!/good.txt": "Good."}
    assert reason(content, "!/secret.txt")[1] == "is encrypted; pack it without a password"


def test_a_damaged_member_is_refused_alone() -> None:
    content = samples.zipped({"bad.txt": "hello " * 100, "good.txt": "Good."}, zipfile.ZIP_STORED)
    damaged = content.replace(b"hello hello", b"hellx hello", 1)
    assert read_texts(damaged) == {"!/bad.txt": "<damaged>", "!/good.txt": "Good."}
    assert reason(damaged, "!/bad.txt")[1].startswith("is damaged in its archive: Bad CRC-32")


def test_a_member_packed_by_another_method_is_refused_alone() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("lzma.txt", "text", zipfile.ZIP_LZMA)
        archive.writestr("good.txt", "Good.")
    assert read_texts(file.getvalue()) == {"!/lzma.txt": "<unsupported>", "!/good.txt": "Good."}


def test_a_member_that_would_become_too_large_is_refused_alone_and_before_it_is_unpacked() -> None:
    content = samples.zipped({"bomb.txt": bytes(65 << 20), "good.txt": "Good."})
    started = time.process_time()
    assert read_texts(content) == {"!/bomb.txt": "<bomb>", "!/good.txt": "Good."}
    assert time.process_time() - started < 0.2


def test_members_that_together_become_too_large_are_refused_from_there_on() -> None:
    content = samples.zipped({f"{number}.txt": b"x" * (20 << 20) for number in range(4)})
    outcomes = read_parts(content)
    assert [isinstance(outcome, Refusal) for outcome in outcomes.values()] == [False, False, False, False, True]
    assert reason(content, "!/3.txt") == (
        "bomb",
        "would unpack to more than 67,108,864 bytes with what stands before it",
    )


def test_a_bomb_within_a_bomb_is_refused() -> None:
    inner = samples.zipped({"zeros": bytes(60 << 20)})
    content = samples.zipped({f"{number}.zip": inner for number in range(3)})
    texts = read_texts(content)
    assert texts["!/0.zip!/zeros"] == "<not_text>"
    assert texts["!/1.zip!/zeros"] == texts["!/2.zip"] == "<bomb>"


def test_a_member_gives_no_more_than_it_declares() -> None:
    content = samples.zipped({"lies.txt": bytes(10 << 20), "good.txt": "Good."})
    declared = content.replace((10 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert declared != content
    assert read_texts(declared) == {"!/lies.txt": "<damaged>", "!/good.txt": "Good."}


def test_a_sparse_tar_archive_is_no_way_around_the_bounds() -> None:
    sparse = entry("sparse", tarfile.GNUTYPE_SPARSE)
    header = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % (1 << 32)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    content = bytes(header) + tar({"good.txt": "Good."}, tarfile.GNU_FORMAT)
    assert read_texts(content) == {"!/sparse": "<bomb>", "!/good.txt": "Good."}


@pytest.mark.parametrize("cut", [512 * 3 + 100, 512 * 4, 512 * 4 + 200])
def test_a_tar_archive_that_ends_too_soon_says_so_after_what_is_whole(cut: int) -> None:
    content = tar({"a.txt": "A.", "b.txt": "B.", "c.txt": "C."}, tarfile.USTAR_FORMAT)
    texts = read_texts(content[:cut])
    assert texts["!/a.txt"] == "A."
    assert texts["!/…"] == "<damaged>"
    assert "!/c.txt" not in texts


def test_what_follows_a_damaged_header_of_a_tar_archive_is_not_lost_silently() -> None:
    content = bytearray(tar({"a.txt": "A.", "b.txt": "B.", "c.txt": "C."}, tarfile.USTAR_FORMAT))
    content[1024 + 148] ^= 1
    assert read_texts(bytes(content)) == {"!/a.txt": "A.", "!/…": "<damaged>"}


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (samples.zipped(FILES)[:-30], "damaged"),
        (samples.zipped(FILES)[: len(samples.zipped(FILES)) // 2], "damaged"),
        (bz2.compress(bytes(range(256)) * 40)[:-9], "damaged"),
        (lzma.compress(bytes(range(256)) * 40)[:-9], "damaged"),
        (bz2.compress(bytes(65 << 20)), "bomb"),
        (lzma.compress(bytes(65 << 20)), "bomb"),
        (bz2.compress(samples.gzipped(b"text")), "bomb"),
    ],
)
def test_a_damaged_archive_and_a_packed_bomb_are_refused_whole(content: bytes, rule: str) -> None:
    assert refused(content)[0] == rule


def test_an_archive_of_too_many_files_is_read_up_to_the_bound() -> None:
    content = samples.zipped({f"{number}.txt": "x" for number in range(10_001)}, zipfile.ZIP_STORED)
    texts = read_texts(content)
    assert len(texts) == 10_001
    assert texts["!/9999.txt"] == "x"
    assert texts["!/…"] == "<bomb>"


def test_members_are_unpacked_one_by_one_and_only_when_asked_for() -> None:
    contents = registry.read_format(tar({f"{number}.txt": "x" for number in range(100)}))
    assert isinstance(contents, Contents)
    members = iter(contents.held)
    first, second = next(members), next(members)
    assert isinstance(first, Member)
    assert isinstance(second, Member)
    assert (first.path, second.path) == ("!/0.txt", "!/1.txt")
    assert second.load() == first.load() == b"x"


def test_reading_goes_on_in_the_middle_of_an_archive() -> None:
    content = tar({f"{number}.txt": f"Text {number}." for number in range(6)})
    words = read(content, ReadingOptions(), Resume("!/3.txt", after=True))
    assert [word.path for word in words if isinstance(word, Part)] == ["!/4.txt", "!/5.txt"]


@pytest.mark.parametrize("name", ["mimetype", "notes/mimetype"])
def test_an_archive_with_a_file_called_like_a_documents_part_is_an_archive(name: str) -> None:
    assert read_texts(samples.zipped({name: "Just a note.", "a.txt": "A."})) == {
        f"!/{name}": "Just a note.",
        "!/a.txt": "A.",
    }
