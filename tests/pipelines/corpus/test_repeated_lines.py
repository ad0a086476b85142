import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from documents_in_memory import document

from forge_pipelines.corpus import repeated_lines
from forge_pipelines.corpus.repeated_lines import (
    LineCounts,
    RepeatedLines,
    RepeatedLinesRule,
    drop_repeated_lines,
    line_hashes,
)
from forge_pipelines.manifest import Document, Segment, sha256_text

FOOTER = "ACME Corporation, confidential, do not copy"


def page(number: int, *lines: str, source: str = "wiki", suffix: str = ".md") -> Document:
    return document(source, f"{number:05}{suffix}", "\n".join([f"What stands on page number {number} alone", *lines]))


def find(documents: list[Document], folder: Path, **fields: Any) -> RepeatedLines:
    counts = LineCounts(folder, RepeatedLinesRule.model_validate(fields))
    counts.add(documents)
    return counts.repeated()


def texts(documents: list[Document], repeated: RepeatedLines) -> list[str]:
    return [each.text for each in drop_repeated_lines(documents, repeated).kept]


def test_a_line_of_many_documents_is_left_out_and_the_hash_is_that_of_the_rest(tmp_path: Path) -> None:
    pages = [page(number, "", f"  {FOOTER}") for number in range(20)]
    outcome = drop_repeated_lines(pages, find(pages, tmp_path))
    assert not outcome.rejected
    for number, kept in enumerate(outcome.kept):
        assert kept.text == f"What stands on page number {number} alone"
        assert kept.text_sha256 == sha256_text(kept.text) and kept.doc_id == pages[number].doc_id


def test_share_and_number_of_documents_must_both_be_reached(tmp_path: Path) -> None:
    nine = [page(number, FOOTER) for number in range(9)] + [page(number) for number in range(9, 20)]
    tenth = [page(number, FOOTER) for number in range(10)] + [page(number) for number in range(10, 100)]
    for place, pages in enumerate((nine, tenth)):
        folder = tmp_path / str(place)
        folder.mkdir()
        assert texts(pages, find(pages, folder)) == [each.text for each in pages]
    assert FOOTER not in "".join(texts(nine, find(nine, tmp_path / "0", min_documents=9)))
    assert FOOTER not in "".join(texts(tenth, find(tenth, tmp_path / "1", share=0.09)))


def test_short_lines_code_tables_and_chats_stay(tmp_path: Path) -> None:
    chats = [replace(page(number, FOOTER), kind="chat") for number in range(20)]
    others = [page(number, FOOTER, suffix=suffix) for number in range(20) for suffix in (".py", ".tsv")]
    prose = [page(number, FOOTER, "Page 7") for number in range(20)]
    documents = [*chats, *others, *prose]
    kept = texts(documents, find(documents, tmp_path))
    assert kept[:60] == [each.text for each in documents[:60]]
    assert all(each.endswith("alone\nPage 7") for each in kept[60:])


def test_sources_are_counted_apart(tmp_path: Path) -> None:
    documents = [page(number, FOOTER) for number in range(20)]
    documents += [page(0, FOOTER, source="mail")] + [page(number, source="mail") for number in range(1, 20)]
    kept = drop_repeated_lines(documents, find(documents, tmp_path)).kept
    assert [each.source for each in kept if FOOTER in each.text] == ["mail"]


def test_copies_of_a_document_count_once(tmp_path: Path) -> None:
    copies = [document("wiki", f"copy-{number}.md", "The same notice stands in many files.") for number in range(15)]
    pages = [*copies, *(page(number) for number in range(15))]
    assert texts(pages, find(pages, tmp_path)) == [each.text for each in pages]


def test_a_document_with_no_other_line_is_rejected(tmp_path: Path) -> None:
    pages = [page(number, FOOTER) for number in range(20)] + [document("wiki", "blank.md", f"{FOOTER}\n")]
    (rejection,) = drop_repeated_lines(pages, find(pages, tmp_path)).rejected
    assert (rejection.uri, rejection.rule, rejection.reason) == (
        "blank.md",
        "repeated_lines",
        "every line of it repeats across the source",
    )
    assert rejection.excerpt.startswith(FOOTER)


def test_every_segment_keeps_its_place(tmp_path: Path) -> None:
    pages = [page(number, FOOTER) for number in range(20)]
    repeated = find(pages, tmp_path)
    two = replace(pages[0], segments=(Segment("text", f"one\n{FOOTER}"), Segment("text", "two")))
    (kept,) = drop_repeated_lines([two], repeated).kept
    assert kept.segments == (Segment("text", "one"), Segment("text", "two"))


def test_what_spills_to_disk_counts_the_same_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = random.Random(0)
    lines = [f"Line of text that stands here and there, {number}" for number in range(300)]
    pages = [page(number, *drawn.sample(lines[: 20 + number], 8)) for number in range(200)]
    (tmp_path / "memory").mkdir()
    expected = find(pages, tmp_path / "memory")
    assert not list((tmp_path / "memory").iterdir())
    assert 0 < len(expected.by_source["wiki"]) < 300
    monkeypatch.setattr(repeated_lines, "_PENDING_HASHES", 100)
    for order in range(3):
        folder = tmp_path / str(order)
        folder.mkdir()
        drawn.shuffle(pages)
        assert find(pages, folder) == expected
        assert len(list(folder.iterdir())) > 100


def test_lines_hashed_elsewhere_count_the_same(tmp_path: Path) -> None:
    pages = [page(number, FOOTER) for number in range(20)]
    rule = RepeatedLinesRule()
    counts = LineCounts(tmp_path, rule)
    for part in (pages[:7], pages[7:]):
        counts.add_hashes(line_hashes(part, rule))
    assert counts.repeated() == find(pages, tmp_path)


@pytest.mark.parametrize("text", ["a" * 50_000_000, "\n" * 5_000_000, "\x00\x01" * 1000, "", "Стоп 阀门 \ud800 " * 9])
def test_odd_documents_pass(tmp_path: Path, text: str) -> None:
    pages = [page(number, FOOTER) for number in range(20)] + [document("wiki", "odd.md", text)]
    assert texts(pages, find(pages, tmp_path))[-1] == text
