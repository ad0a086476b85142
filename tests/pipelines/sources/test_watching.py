"""Watched sources: new contents are told once, when they have come to rest; what vanishes is one sentence."""

import os
import shutil
import time
from pathlib import Path

import pytest

from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import Classification
from forge_pipelines.sources import watching
from forge_pipelines.sources.config import Labels, SourceConfig
from forge_pipelines.sources.connections import no_connections
from forge_pipelines.sources.places.config import FolderPlace
from forge_pipelines.sources.places.opening import open_place
from forge_pipelines.sources.stage import read_source
from forge_pipelines.sources.watching import Look, Watch, Watched, glance, listing, listing_read, look
from forge_pipelines.store import Store

SETTLE = 10.0


@pytest.fixture
def source(tmp_path: Path) -> SourceConfig:
    folder = tmp_path / "post"
    folder.mkdir()
    (folder / "a.md").write_text("Dear Ada, here is some paper.")
    return SourceConfig(
        name="post",
        folder=FolderPlace(path=str(folder), include=("**/*.md",)),
        labels=Labels(licence="CC-BY-4.0", classification=Classification.INTERNAL),
    )


def folder_of(source: SourceConfig) -> Path:
    assert source.folder is not None
    return Path(source.folder.path)


def opened(source: SourceConfig) -> list[Watched]:
    return [(source, open_place(source, no_connections))]


class Watcher:
    """Looks at one source, again and again, at a time that the test sets."""

    def __init__(self, source: SourceConfig, store: Store) -> None:
        self.source = source
        self.store = store
        self.watch = Watch()
        self.now = 1000.0

    def look(self, after: float) -> Look:
        self.now += after
        found = look(opened(self.source), self.watch, SETTLE, self.store, self.now)
        self.watch = found.watch
        return found

    def settled(self) -> "Watcher":
        self.look(0)
        assert self.look(SETTLE).changed
        return self


def test_a_change_is_told_once_and_only_after_the_files_have_been_still(source: SourceConfig, store: Store) -> None:
    watcher = Watcher(source, store).settled()
    assert not watcher.look(1).changed
    (folder_of(source) / "b.md").write_text("Dear Boris, here is some ink.")
    assert [watcher.look(after).changed for after in (1, 5, 4.9)] == [False, False, False]
    assert watcher.look(0.1).changed
    assert [watcher.look(after).changed for after in (0, 1, 100)] == [False, False, False]


def test_files_that_go_on_changing_are_waited_for(source: SourceConfig, store: Store) -> None:
    watcher = Watcher(source, store).settled()
    for number in range(5):
        (folder_of(source) / "b.md").write_text("Dear Boris, " + "ink " * number)
        assert not watcher.look(SETTLE + 1).changed
    assert watcher.look(SETTLE).changed


def test_a_file_that_changes_while_its_folder_is_listed_is_waited_for(
    source: SourceConfig, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Watcher(source, store).settled()
    changing = folder_of(source) / "b.md"
    changing.write_text("first")
    watcher.look(1)

    def listed_meanwhile(sources: list[Watched], store: Store) -> str:
        found = listing(sources, store)
        changing.write_text("second and longer")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(watching, "listing", listed_meanwhile)
        assert not watcher.look(SETTLE).changed
    assert not watcher.look(SETTLE - 1).changed
    assert watcher.look(1).changed
    assert watcher.watch.listing == listing(opened(source), store)


def test_touched_files_are_no_change(source: SourceConfig, store: Store) -> None:
    watcher = Watcher(source, store).settled()
    os.utime(folder_of(source) / "a.md", (1, 1))
    watcher.look(1)
    assert not watcher.look(SETTLE).changed


def test_a_change_back_to_what_was_there_before_is_a_change(source: SourceConfig, store: Store) -> None:
    watcher = Watcher(source, store).settled()
    first = watcher.watch.listing
    for present in (True, False):
        if present:
            (folder_of(source) / "b.md").write_text("Dear Boris")
        else:
            (folder_of(source) / "b.md").unlink()
        watcher.look(1)
        assert watcher.look(SETTLE).changed
    assert watcher.watch.listing == first


def test_files_that_the_source_does_not_read_are_no_change(source: SourceConfig, store: Store) -> None:
    before = glance(opened(source))
    (folder_of(source) / "b.pdf").write_text("no")
    (folder_of(source) / ".hidden.md").write_text("no")
    assert glance(opened(source)) == before


def test_a_folder_that_vanishes_or_is_empty_is_one_sentence(source: SourceConfig, store: Store) -> None:
    (folder_of(source) / "a.md").unlink()
    with pytest.raises(DataError, match=r"^source post: nothing in .*/post matches \*\*/\*\.md; is it mounted\?$"):
        look(opened(source), Watch(), SETTLE, store)
    shutil.rmtree(folder_of(source))
    with pytest.raises(ConfigError, match=r"^the folder .*/post does not exist"):
        look(opened(source), Watch(), SETTLE, store)


def test_the_listing_is_that_of_the_documents_read(source: SourceConfig, store: Store) -> None:
    assert listing_read([read_source(source, store).manifest]) == listing(opened(source), store)


def test_names_that_are_no_text_can_be_watched(source: SourceConfig, store: Store) -> None:
    (folder_of(source) / os.fsdecode(b"\xff.md")).write_text("what")
    assert not look(opened(source), Watch(), SETTLE, store).changed


def test_a_glance_opens_no_file(source: SourceConfig, store: Store) -> None:
    os.mkfifo(folder_of(source) / "pipe.md")
    started = time.monotonic()
    glance(opened(source))
    assert time.monotonic() - started < 5
