"""What the Parquet tables of documents and rejections promise."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forge_pipelines import tables
from forge_pipelines.columns import (
    SEGMENTS,
    characters_of,
    documents_of,
    forms_of,
    table_of,
    table_of_documents,
)
from forge_pipelines.manifest import Document, Rejection, Segment
from forge_pipelines.tables import (
    documents_writer,
    find_documents,
    read_documents,
    read_labels,
    read_rejections,
    rejections_writer,
    sample,
)


def document(number: int, text: str = "A sentence.") -> Document:
    return Document(
        doc_id=f"{number:064x}",
        text_sha256=hashlib.sha256(text.encode()).hexdigest(),
        parent_id=None,
        kind="chat" if number % 2 else "text",
        segments=(Segment("user", text), Segment("assistant", "Grüß Gott 😀\n"))
        if number % 2
        else (Segment("text", text),),
        source="handbook",
        uri=f"folder/{number}.md",
        media_type="text/markdown",
        raw_sha256="0" * 64,
        language="en" if number % 3 else None,
        licence="Apache-2.0",
        classification="internal",
        owner=None,
        purpose="training",
        retrieved_at="2026-01-01T00:00:00+00:00",
        expires_at=None,
    )


def write(path: Path, documents: list[Document]) -> None:
    with documents_writer(path) as writer:
        for row in documents:
            writer.add(row)
    assert writer.num_rows == len(documents)


@pytest.mark.parametrize("count", [0, 1, tables.BATCH_ROWS, tables.BATCH_ROWS + 1])
def test_documents_come_back_whole_and_in_order(tmp_path: Path, count: int) -> None:
    documents = [document(number) for number in range(count)]
    write(tmp_path / "documents.parquet", documents)
    assert list(read_documents(tmp_path / "documents.parquet")) == documents


def test_rejections_come_back_whole_and_in_order(tmp_path: Path) -> None:
    rejections = [Rejection(str(n), "handbook", f"{n}.md", "raw_documents", "empty", "no text", "") for n in range(700)]
    with rejections_writer(tmp_path / "rejections.parquet") as writer:
        for row in rejections:
            writer.add(row)
    assert list(read_rejections(tmp_path / "rejections.parquet")) == rejections


def test_equal_rows_are_equal_bytes(tmp_path: Path) -> None:
    documents = [document(number) for number in range(600)]
    for name in ("one.parquet", "two.parquet"):
        write(tmp_path / name, documents)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


@pytest.mark.parametrize("batch_characters", [tables.BATCH_CHARACTERS, 900])
def test_documents_that_are_added_as_tables_give_the_file_that_adding_them_one_by_one_gives(
    tmp_path: Path, batch_characters: int
) -> None:
    documents = [document(number, "ä" * (number % 90)) for number in range(1300)]
    with documents_writer(tmp_path / "rows.parquet", batch_characters) as writer:
        for each in documents:
            writer.add(each)
    with documents_writer(tmp_path / "tables.parquet", batch_characters) as writer:
        for start, end in ((0, 700), (700, 700), (703, 1299)):
            for each in documents[start - 3 : start] if start == 703 else ():
                writer.add(each)
            writer.add_documents(table_of_documents(documents).slice(start, end - start))
        writer.add(documents[-1])
    assert writer.num_rows == len(documents)
    assert (tmp_path / "tables.parquet").read_bytes() == (tmp_path / "rows.parquet").read_bytes()


def test_what_is_asked_of_many_documents_at_once_is_what_each_of_them_says() -> None:
    documents = [document(number, "Grüß 😀 " * (number % 7)) for number in range(100)]
    table = table_of_documents(documents).slice(3, 90)
    assert documents_of(table) == documents[3:93]
    assert characters_of(table).tolist() == [len(each.text) for each in documents[3:93]]
    assert forms_of(table) == [[(part.role, len(part.text)) for part in each.segments] for each in documents[3:93]]
    assert documents_of(table.slice(0, 0)) == [] and characters_of(table.slice(0, 0)).tolist() == []


def test_large_documents_end_a_batch_early_so_that_memory_is_bounded(tmp_path: Path) -> None:
    documents = [document(number * 2, "x" * 400) for number in range(9)]
    with documents_writer(tmp_path / "documents.parquet", 1000) as table:
        for each in documents:
            table.add(each)
    with pq.ParquetFile(tmp_path / "documents.parquet") as table:
        assert table.num_row_groups == 3
    assert list(read_documents(tmp_path / "documents.parquet")) == documents


def test_a_reader_that_stops_early_reads_no_more_than_it_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "documents.parquet", [document(number) for number in range(10)])
    assert [row.uri for row in sample(read_documents(tmp_path / "documents.parquet"), 2)] == [
        "folder/0.md",
        "folder/1.md",
    ]


def test_documents_are_found_by_their_labels_and_the_texts_of_other_batches_stay_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [document(number) for number in range(3 * tables.BATCH_ROWS)]
    write(tmp_path / "documents.parquet", documents)
    labels = list(read_labels(tmp_path / "documents.parquet"))
    assert [row["uri"] for row in labels] == [row.uri for row in documents]
    assert "segments" not in labels[0]
    read: list[int] = []

    class Watched(pq.ParquetFile):
        def read_row_group(self, i: int, columns: list[str], **options: object) -> object:
            if "segments" in columns:
                read.append(i)
            return super().read_row_group(i, columns=columns, **options)

    monkeypatch.setattr(pq, "ParquetFile", Watched)
    wanted = {documents[3].uri, documents[-1].uri, documents[-2].uri}
    found = list(find_documents(tmp_path / "documents.parquet", lambda row: row["uri"] in wanted))
    assert found == [documents[3], documents[-2], documents[-1]]
    assert read == [0, 2]


def test_a_failure_while_writing_is_not_hidden(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="the reader failed"),
        documents_writer(tmp_path / "documents.parquet") as writer,
    ):
        writer.add(document(0))
        raise ValueError("the reader failed")


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
def test_rows_become_the_table_that_arrow_makes_of_them(count: int) -> None:
    schema = pa.schema(
        [
            ("file", pa.binary(2)),
            ("number", pa.int32()),
            ("ends", pa.bool_()),
            ("path", pa.string()),
            ("segments", SEGMENTS),
            ("rule", pa.string()),
        ]
    )
    rows = [
        {
            "file": bytes([number, 255 - number]),
            "number": number,
            "ends": number % 3 == 0,
            "path": None if number % 4 == 0 else f"Grüße {number} 😀",
            "segments": None if number % 5 == 0 else [{"role": "text", "text": "äöü" * number}] * (number % 4),
        }
        for number in range(count)
    ]
    table = table_of(rows, schema)
    table.validate(full=True)
    assert table.equals(pa.Table.from_pylist(rows, schema=schema))


def test_a_full_disk_while_a_batch_is_written_is_not_hidden() -> None:
    with pytest.raises(OSError, match="No space left"), documents_writer(Path("/dev/full")) as writer:
        for number in range(3 * tables.BATCH_ROWS):
            writer.add(document(number, "A sentence." * 1000))
