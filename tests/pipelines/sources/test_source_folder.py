"""What the folder promises as a place: what is listed, what is skipped, and that nothing can hold it up."""

import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from forge_pipelines.errors import ConfigError
from forge_pipelines.sources.place import Item, Refusal
from forge_pipelines.sources.places.config import FolderPlace
from forge_pipelines.sources.places.folder import Folder
from forge_pipelines.sources.places.globs import compile_globs
from forge_pipelines.sources.stamps import Stamps
from forge_pipelines.sources.survey import Fingerprint, Told, told_apart


@dataclass
class Listed:
    """Everything that a folder held, looked at for the first time."""

    folder: Folder
    found: list[Told]

    @property
    def fingerprint(self) -> str:
        fingerprint = Fingerprint()
        for told in self.found:
            fingerprint.add(told.item.path, told.seen, told.refusal)
        return fingerprint.hexdigest()


def open_folder(path: Path, max_file_bytes: int = 1 << 20, **patterns: Any) -> Folder:
    return Folder(str(path), FolderPlace(path=str(path), **patterns), max_file_bytes)


def list_folder(path: Path, max_file_bytes: int = 1 << 20, **patterns: Any) -> Listed:
    folder = open_folder(path, max_file_bytes, **patterns)
    stamps = Stamps(Path("/nonexistent/stamps"), folder.address)
    return Listed(folder, [*told_apart(folder, stamps, lambda _: False)])


def paths(listing: Listed) -> list[str]:
    return [told.item.path for told in listing.found]


def reasons(listing: Listed) -> dict[str, str]:
    return {told.item.path: told.refusal.reason for told in listing.found if told.refusal}


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*.md", ["a.md", ".md"], ["b/a.md", "a.mdx", "a.MD"]),
        ("**/*.md", ["a.md", "b/a.md", "b/c/a.md"], ["a.txt"]),
        ("docs/**", ["docs/a", "docs/b/c"], ["docs", "other/docs/a"]),
        ("**/docs/*", ["docs/a", "x/docs/a"], ["docs/b/a", "mydocs/a"]),
        ("a?c.txt", ["abc.txt"], ["a/c.txt", "ac.txt"]),
        ("[a-c]*.txt", ["bx.txt"], ["dx.txt"]),
        ("[!a]*", ["b"], ["a", "/b"]),
        ("a[+.]b", ["a+b", "a.b"], ["axb"]),
        ("**/README*", ["README", "x/README.md"], ["xREADME"]),
        ("a+(b)", ["a+(b)"], ["aab"]),
        ("*", ["a\nb"], ["a/b"]),
    ],
)
def test_globs_mean_what_they_mean_everywhere(pattern: str, matching: list[str], others: list[str]) -> None:
    expression = compile_globs([pattern])
    assert [path for path in [*matching, *others] if expression.fullmatch(path)] == matching


@pytest.mark.parametrize("pattern", ["/etc/*", "../**", "a/../b", "[z-a]"])
def test_a_pattern_that_leaves_the_folder_or_means_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError, match="the pattern"):
        FolderPlace(path=".", include=(pattern,))


def test_a_listing_is_sorted_and_relative(documents: Path) -> None:
    assert paths(list_folder(documents)) == ["deep/er/page.html", "deep/manual.rst", "plain.txt", "read.md"]
    assert paths(list_folder(documents, include=("**/*.md", "deep/*"))) == ["deep/manual.rst", "read.md"]
    assert paths(list_folder(documents, exclude=("deep/**",))) == ["plain.txt", "read.md"]


def test_hidden_files_and_folders_are_skipped_and_counted(documents: Path) -> None:
    (documents / ".secret").mkdir()
    (documents / ".secret/key.txt").write_text("x")
    (documents / "deep/.hidden.txt").write_text("x")
    listing = list_folder(documents)
    assert listing.folder.num_skipped_hidden == 2
    assert len(paths(listing)) == 4


def test_links_that_leave_the_folder_are_skipped_and_counted(documents: Path, tmp_path: Path) -> None:
    (tmp_path / "private.txt").write_text("not for the model")
    (documents / "out.txt").symlink_to(tmp_path / "private.txt")
    (documents / "up").symlink_to("..")
    (documents / "deep/round").symlink_to("..")
    (documents / "device.txt").symlink_to("/dev/zero")
    (documents / "same.md").symlink_to("read.md")
    listing = list_folder(documents)
    assert listing.folder.num_skipped_links == 4
    assert paths(listing) == ["deep/er/page.html", "deep/manual.rst", "plain.txt", "read.md", "same.md"]


def test_what_is_no_file_is_refused_and_never_waited_for(documents: Path) -> None:
    os.mkfifo(documents / "pipe.txt")
    (documents / "nowhere.txt").symlink_to("missing.txt")
    (documents / "loop.txt").symlink_to("loop.txt")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(documents / "socket.txt"))
        listing = list_folder(documents)
    assert reasons(listing) == {
        "pipe.txt": "is a pipe, not a file",
        "socket.txt": "is a socket, not a file",
        "nowhere.txt": "cannot be read: No such file or directory",
        "loop.txt": "cannot be read: Too many levels of symbolic links",
    }


def test_a_large_file_is_refused_without_being_read(documents: Path) -> None:
    with (documents / "huge.txt").open("wb") as file:
        file.truncate(1 << 40)
    assert "max_file_bytes (1,048,576)" in reasons(list_folder(documents))["huge.txt"]


def test_a_name_that_is_not_utf_8_is_refused(documents: Path) -> None:
    Path(os.fsdecode(os.fsencode(documents) + b"/caf\xe9.txt")).write_text("x")
    assert reasons(list_folder(documents)) == {"caf\\xe9.txt": "has a name that is not UTF-8; rename it"}


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that another user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_what_may_not_be_read_is_refused(public_folder: Path) -> None:
    (public_folder / "locked").mkdir(mode=0)
    (public_folder / "secret.txt").write_text("x")
    (public_folder / "secret.txt").chmod(0)
    (public_folder / "open.txt").write_text("x")
    if os.geteuid() != 0:
        listing = list_folder(public_folder)
    else:
        os.seteuid(65534)
        try:
            listing = list_folder(public_folder)
        finally:
            os.seteuid(0)
    assert paths(listing) == ["locked/", "open.txt", "secret.txt"]
    assert reasons(listing) == {
        "locked/": "is a folder that cannot be read: Permission denied",
        "secret.txt": "cannot be read: Permission denied",
    }


def test_the_fingerprint_is_of_paths_and_contents_alone(documents: Path, tmp_path: Path) -> None:
    before = list_folder(documents).fingerprint
    os.utime(documents / "read.md", (0, 0))
    (documents / ".hidden").write_text("x")
    assert list_folder(documents).fingerprint == before
    documents.rename(tmp_path / "moved")
    assert list_folder(tmp_path / "moved").fingerprint == before
    (tmp_path / "moved/read.md").rename(tmp_path / "moved/read2.md")
    assert list_folder(tmp_path / "moved").fingerprint != before


def test_what_a_file_is_when_it_is_fetched_is_given_out_whole_or_not_at_all(documents: Path) -> None:
    folder = open_folder(documents)
    items = {item.path: item for item in folder.items()}
    (documents / "read.md").write_text("other")
    (documents / "plain.txt").unlink()
    with (documents / "deep/manual.rst").open("wb") as file:
        file.truncate(2 << 20)
    other, gone, large = folder.fetch([items["read.md"], items["plain.txt"], items["deep/manual.rst"]])
    assert other == b"other"
    assert gone == Refusal("unreadable", "cannot be read: No such file or directory")
    assert isinstance(large, Refusal)
    assert large.rule == "too_large"


def test_a_file_that_grows_while_it_is_read_is_a_refusal(documents: Path) -> None:
    folder = open_folder(documents, max_file_bytes=1 << 30)
    growing = documents / "grows.txt"
    growing.write_bytes(b"x" * (64 << 20))
    grow = threading.Event()

    def append() -> None:
        with growing.open("ab", buffering=0) as file:
            while not grow.is_set():
                file.write(b"y")

    writer = threading.Thread(target=append)
    writer.start()
    try:
        (refusal,) = folder.fetch([Item("grows.txt")])
    finally:
        grow.set()
        writer.join()
    assert isinstance(refusal, Refusal)
    assert refusal.rule == "changed"


def test_a_stamp_is_another_whenever_the_file_is(documents: Path) -> None:
    folder, file = open_folder(documents, include=("read.md",)), documents / "read.md"
    stamps = [next(folder.items()).stamp]
    content, times = file.read_bytes(), (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    for change in (
        lambda: file.write_bytes(content + b"x"),
        lambda: file.write_bytes(content[::-1]),
        lambda: os.utime(file, ns=times),  # the same size and time of change as at first
        lambda: (documents / "new").write_bytes(content) and (documents / "new").replace(file),
    ):
        time.sleep(0.01)
        change()
        stamps.append(next(folder.items()).stamp)
    assert len(set(stamps)) == 5


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"the folder {tmp_path}/nowhere does not exist; correct `folder.path`"):
        list_folder(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="does not exist"):
        list_folder(tmp_path / "file")
