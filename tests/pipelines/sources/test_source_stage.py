"""What `raw_documents` promises: every file is a document or a rejection, and the same contents are the same."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import ValidationError

from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import Classification, Document, Manifest, Rejection
from forge_pipelines.progress import Progress
from forge_pipelines.sources import survey
from forge_pipelines.sources.config import Labels, ReadingLimits, SourceConfig
from forge_pipelines.sources.places.config import FolderPlace
from forge_pipelines.sources.stage import read_source
from forge_pipelines.store import Store

Configure = Callable[..., SourceConfig]
Contents = Callable[[Manifest], tuple[dict[str, Document], dict[str, Rejection]]]


def at(config: SourceConfig, folder: Path) -> SourceConfig:
    return config.model_copy(update={"folder": FolderPlace(path=str(folder)), "description": "elsewhere"})


def limited(config: SourceConfig, **limits: Any) -> SourceConfig:
    return config.model_copy(update={"reading": ReadingLimits.model_validate(limits)})


def test_every_file_is_a_document_or_a_rejection(
    documents: Path, configure: Configure, store: Store, contents: Contents
) -> None:
    (documents / "empty.txt").write_bytes(b"")
    (documents / "blank.md").write_text(" \n\t\n")
    (documents / "image.txt").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    (documents / "large.txt").write_text("x" * 2_000_000)
    os.mkfifo(documents / "pipe.txt")
    (documents / ".hidden").write_text("x")
    manifest = read_source(configure(), store).manifest
    kept, rejected = contents(manifest)
    assert set(kept) == {"plain.txt", "read.md", "deep/manual.rst", "deep/er/page.html"}
    assert {path: row.rule for path, row in rejected.items()} == {
        "empty.txt": "empty",
        "blank.md": "empty",
        "image.txt": "needs_ocr",
        "large.txt": "too_large",
        "pipe.txt": "not_a_file",
    }
    counts = dict(manifest.counts)
    assert (counts["files"], counts["documents"], counts["rejected"], counts["skipped_hidden"]) == (9, 4, 5, 1)
    assert counts["rejected_by_rule"] == {"empty": 2, "needs_ocr": 1, "too_large": 1, "not_a_file": 1}
    assert sum(counts["by_media_type"].values()) == sum(counts["by_language"].values()) == 4
    assert counts["characters"] == sum(len(row.text) for row in kept.values())
    assert manifest.classification is Classification.INTERNAL


def test_a_document_is_known_by_its_content_and_carries_its_labels(
    documents: Path, configure: Configure, store: Store, contents: Contents
) -> None:
    raw = "\ufeffErste Zeile: Die Pumpe steht in der Halle und läuft.\r\nZweite Zeile: Sie wird geölt.\rDritte Zeile.\n"
    (documents / "german.txt").write_bytes(raw.encode())
    os.utime(documents / "german.txt", (1_700_000_000, 1_700_000_000))
    row = contents(read_source(configure(), store).manifest)[0]["german.txt"]
    text = "Erste Zeile: Die Pumpe steht in der Halle und läuft.\nZweite Zeile: Sie wird geölt.\nDritte Zeile.\n"
    assert row.text == text
    assert row.doc_id == hashlib.sha256(f"handbook\0german.txt\0{text}".encode()).hexdigest()
    assert row.text_sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert row.raw_sha256 == hashlib.sha256(raw.encode()).hexdigest()
    assert (row.language, row.media_type, row.source) == ("de", "text/plain", "handbook")
    assert (row.licence, row.classification, row.owner, row.purpose) == ("CC0-1.0", "internal", "Hall", None)
    assert row.retrieved_at == "2023-11-14T22:13:20+00:00"


def test_the_same_folder_elsewhere_is_the_same(
    documents: Path, configure: Configure, store: Store, tmp_path: Path
) -> None:
    shutil.copytree(documents, tmp_path / "copy")
    here = read_source(configure(), store)
    again = read_source(at(configure(), tmp_path / "copy"), store)
    other_store = read_source(at(configure(), tmp_path / "copy"), Store(str(tmp_path / "other"), tmp_path / "scratch"))
    assert (here.fresh, again.fresh, other_store.fresh) == (True, False, True)
    assert here.manifest.fingerprint == again.manifest.fingerprint == other_store.manifest.fingerprint


def test_labels_of_paths_stand_in_place_of_the_sources_own_and_the_strictest_holds_for_all(
    documents: Path, configure: Configure, store: Store, contents: Contents
) -> None:
    overrides = (
        {"paths": ["deep/**"], "classification": "restricted", "purpose": "repairs", "retain_days": 10},
        {"paths": ["**/*.rst"], "licence": "mit", "owner": "Yard"},
    )
    os.utime(documents / "deep/manual.rst", (1_700_000_000, 1_700_000_000))
    labels = Labels.model_validate({"licence": "CC0-1.0", "classification": "public", "overrides": overrides})
    manifest = read_source(configure().model_copy(update={"labels": labels}), store).manifest
    kept, _ = contents(manifest)
    assert {
        path: (row.licence, row.classification, row.owner, row.purpose, row.expires_at) for path, row in kept.items()
    } == {
        "plain.txt": ("CC0-1.0", "public", None, None, None),
        "read.md": ("CC0-1.0", "public", None, None, None),
        "deep/er/page.html": ("CC0-1.0", "restricted", None, "repairs", kept["deep/er/page.html"].expires_at),
        "deep/manual.rst": ("MIT", "restricted", "Yard", "repairs", "2023-11-24T22:13:20+00:00"),
    }
    assert manifest.classification is Classification.RESTRICTED
    assert manifest.counts["by_classification"] == {"public": 2, "restricted": 2}


def test_nothing_unlabelled_passes(documents: Path, configure: Configure, store: Store, contents: Contents) -> None:
    overrides = ({"paths": ["**/*.md"], "licence": "MIT"},)
    labels = Labels.model_validate({"classification": "public", "overrides": overrides})
    kept, rejected = contents(read_source(configure().model_copy(update={"labels": labels}), store).manifest)
    assert set(kept) == {"read.md"}
    assert {row.rule for row in rejected.values()} == {"unlabelled"}
    assert rejected["plain.txt"].reason == "has no licence; write one in `labels`, or in `labels.overrides`"
    with pytest.raises(ValidationError, match=r"no document has a licence: write `labels\.licence`"):
        Labels.model_validate({"classification": "public"})


def test_a_licence_that_is_no_spdx_expression_is_one_sentence() -> None:
    with pytest.raises(ValidationError, match="'proprietary' is no SPDX licence expression; write an identifier such"):
        Labels.model_validate({"licence": "proprietary", "classification": "public"})
    assert Labels.model_validate({"licence": "apache-2.0 or mit", "classification": "public"}).licence == (
        "Apache-2.0 OR MIT"
    )


def test_a_program_that_recognises_text_and_is_not_there_is_one_sentence(configure: Configure, store: Store) -> None:
    message = r"source handbook: there is no program no-such-ocr; install it, or mend `reading\.ocr`"
    with pytest.raises(ConfigError, match=message):
        read_source(limited(configure(), ocr=["no-such-ocr", "stdin"]), store)


def test_one_changed_file_is_another_fingerprint_and_one_other_document(
    documents: Path, configure: Configure, store: Store, contents: Contents
) -> None:
    before = read_source(configure(), store).manifest
    (documents / "read.md").write_text("# Pumps\n\nAll is new.\n")
    after = read_source(configure(), store).manifest
    assert before.fingerprint != after.fingerprint
    old, new = contents(before)[0], contents(after)[0]
    assert {path for path in old if old[path] != new[path]} == {"read.md"}


def test_other_labels_are_another_publication_of_the_same_documents(
    configure: Configure, store: Store, contents: Contents
) -> None:
    config = configure()
    stricter = config.model_copy(
        update={"labels": config.labels.model_copy(update={"classification": Classification.RESTRICTED})}
    )
    before, after = read_source(config, store).manifest, read_source(stricter, store).manifest
    assert after.classification is Classification.RESTRICTED
    assert before.fingerprint != after.fingerprint
    assert [row.doc_id for row in contents(before)[0].values()] == [row.doc_id for row in contents(after)[0].values()]


@pytest.mark.parametrize("max_file_bytes", [64 << 20, 256 << 20])
def test_a_line_of_200_mb_is_a_rejection_or_passes_whole(
    documents: Path, configure: Configure, store: Store, contents: Contents, max_file_bytes: int
) -> None:
    with (documents / "line.txt").open("wb") as file:
        for _ in range(200):
            file.write(b"forge pump " * 95_325)
    num_bytes = (documents / "line.txt").stat().st_size
    config = limited(configure(max_file_bytes), max_text_characters=300_000_000)
    kept, rejected = contents(read_source(config, store).manifest)
    if max_file_bytes > num_bytes:
        assert len(kept["line.txt"].text) == num_bytes
    else:
        assert rejected["line.txt"].reason == f"has {num_bytes:,} bytes, more than max_file_bytes (67,108,864) allows"


def test_no_matching_file_is_one_sentence(configure: Configure, store: Store) -> None:
    with pytest.raises(DataError, match=r"source handbook: nothing in .*documents matches \*\.pdf, \*\.odt; correct"):
        read_source(configure(include=("*.pdf", "*.odt")), store)
    assert list(store.manifests()) == []


def test_a_source_of_which_every_file_is_rejected_publishes_nothing(
    documents: Path, configure: Configure, store: Store
) -> None:
    shutil.rmtree(documents / "deep")
    (documents / "plain.txt").write_bytes(b"\x7fELF")
    (documents / "read.md").write_bytes(b"\0")
    (documents / "void.md").write_bytes(b"")
    message = (
        "every one of its 3 files was rejected, 2 by the rule «not_text», for example plain.txt, which is not text"
    )
    with pytest.raises(DataError, match=message):
        read_source(configure(), store)
    assert list(store.manifests()) == []


def test_an_exception_in_the_middle_publishes_nothing_and_the_next_run_is_a_clean_one(
    configure: Configure, store: Store, tmp_path: Path
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.stage.endswith("reading"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_source(configure(), store, interrupt)
    assert list(store.manifests()) == []
    clean = read_source(configure(), Store(str(tmp_path / "clean"), tmp_path / "scratch"))
    assert read_source(configure(), store).manifest.fingerprint == clean.manifest.fingerprint


def test_progress_is_told_in_files_with_rates(configure: Configure, store: Store) -> None:
    heard: list[Progress] = []
    read_source(configure(), store, heard.append)
    last = {report.stage: report for report in heard}
    assert {stage: (report.done, report.total, report.unit) for stage, report in last.items()} == {
        "handbook: reading": (4, 4, "files"),
        "handbook: writing": (4, 4, "files"),
    }
    assert last["handbook: reading"].metrics.keys() == {"files/s", "MB/s"}


def test_a_file_beyond_a_limit_is_a_rejection_and_another_limit_is_another_publication(
    configure: Configure, store: Store, contents: Contents
) -> None:
    before = read_source(configure(), store).manifest
    after = read_source(limited(configure(), max_text_characters=100), store).manifest
    assert before.fingerprint != after.fingerprint
    kept, rejected = contents(after)
    assert {path: row.rule for path, row in rejected.items()} == {"deep/er/page.html": "too_much_text"}
    assert kept == {path: row for path, row in contents(before)[0].items() if path in kept}


def test_killed_readers_change_nothing(
    documents: Path, configure: Configure, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "_SECONDS_BETWEEN_REPORTS", 0.0)
    for number in range(200):
        (documents / f"{number:03}.txt").write_text(f"The pump of hall {number} stands at its place.")
    killed = 0
    killed_at = 0.0

    def kill(progress: Progress) -> None:
        nonlocal killed, killed_at
        if progress.stage.endswith("reading") and killed_at + 50 < progress.done < 204:
            killed_at = progress.done
            for reader in psutil.Process().children():
                reader.kill()
                killed += 1

    disturbed = read_source(configure(), store, kill)
    clean = read_source(configure(), Store(str(tmp_path / "clean"), tmp_path / "scratch"))
    assert killed >= 2
    assert disturbed.manifest.fingerprint == clean.manifest.fingerprint
