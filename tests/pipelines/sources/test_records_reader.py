"""What the readers of data sets promise: every format, told by its content; each record a text, or why it is none."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from record_samples import (
    FORMATS,
    arrow_stream,
    delimited,
    gzipped,
    json_lines,
    json_list,
    parquet,
    parts,
    reasons,
    records,
    workbook,
    written,
)

from forge_pipelines.sources.readers import record_json

ROWS = (
    {"id": 7, "title": "Pümp", "text": 'Grease it, "weekly".\nThen wipe.'},
    {"id": 9, "title": "Seal", "text": "Change it; once a year."},
    {"id": 11, "title": "Card", "text": "Write it down."},
)
TEXTS = [row["text"] for row in ROWS]


@pytest.mark.parametrize("made", FORMATS)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_every_format_gives_its_records_from_memory_and_from_disk(
    made: Callable[..., bytes], packed: bool, tmp_path: Path
) -> None:
    content = gzipped(made(*ROWS)) if packed else made(*ROWS)
    expected = dict(zip(["#1", "#2", "#3"], TEXTS, strict=True))
    assert records(content) == expected
    assert records(written(tmp_path, "no-telling-name", content)) == expected


@pytest.mark.parametrize("made", FORMATS)
def test_columns_are_named_or_put_together(made: Callable[..., bytes]) -> None:
    content = made(*ROWS)
    assert records(content, id="id", text="title") == {"#7": "Pümp", "#9": "Seal", "#11": "Card"}
    assert records(content, text="{title} ({id})\n\n{text}")["#2"] == "Seal (9)\n\nChange it; once a year."


@pytest.mark.parametrize("made", FORMATS)
def test_a_column_that_is_not_there_is_one_error_of_the_file(made: Callable[..., bytes]) -> None:
    content = made(*ROWS)
    there = "it has id, title, text"
    assert reasons(content, text="body") == {"": f"has no column body; {there}: correct records.columns.text"}
    assert reasons(content, text="{text} {x}") == {"": f"has no column x; {there}: correct records.columns.text"}
    assert reasons(content, id="key") == {"": f"has no column key; {there}: correct records.columns.id"}
    assert reasons(content, "chat", prompt="q") == {"": f"has no column q; {there}: correct records.columns.prompt"}


@pytest.mark.parametrize("made", FORMATS)
def test_a_file_without_any_usual_column_of_a_text_is_one_error(made: Callable[..., bytes]) -> None:
    said = reasons(made({"a": "x", "b": "y"}, {"a": "y", "b": "x"}))
    usual = "has none of the columns text, content, body, document"
    assert said == {"": f"{usual}; it has a, b: name one as records.columns.text"}


def test_a_template_that_means_nothing_is_one_error_of_the_file() -> None:
    assert "a brace" in reasons(json_lines(*ROWS), text="{title")[""]


@pytest.mark.parametrize("name", ["text", "content", "body", "document"])
def test_the_usual_columns_of_a_text_are_found(name: str) -> None:
    assert records(parquet({"n": 1, name: "one"}, {"n": 2, name: "two"})) == {"#1": "one", "#2": "two"}


def test_data_sets_as_datasets_saves_them_are_read(tmp_path: Path) -> None:
    datasets.Dataset.from_list(list(ROWS)).save_to_disk(tmp_path / "saved")
    files = {path.name: records(path) for path in (tmp_path / "saved").iterdir()}
    assert files.pop("data-00000-of-00001.arrow") == {"#1": TEXTS[0], "#2": TEXTS[1], "#3": TEXTS[2]}
    assert files == {"dataset_info.json": {}, "state.json": {}}
    assert reasons(tmp_path / "saved/state.json")[""].startswith("holds no records: it is neither Parquet, Arrow")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"# Pumps\n\nGrease them, weekly.\n",
        b"Oil, grease, cloth\nand, then, more\n",
        b'{"name": "config", "rows": [\n  {"a": 1},\n  {"a": 2}\n]}\n',
        b"[1, 2, 3]",
        b"\x89PNG\r\n\x1a\n\0\0\0",
        b"PK\x05\x06" + bytes(18),
        b"text,id\n",
        "text,id\nGröße,1\n".encode("latin-1"),
    ],
)
def test_what_is_no_data_set_is_refused(content: bytes) -> None:
    found = parts(content)
    assert [(part.path, getattr(part.outcome, "rule", None)) for part in found] == [("", "not_records")]


def test_ids_that_are_missing_repeated_or_no_names_are_refused_under_their_numbers() -> None:
    content = json_lines(
        *({"id": id, "text": "x"} for id in ("a", "", "b", "a", None, 1.5, [1], "c\nd", "é/#")), {"text": "x"}
    )
    rules = {"#2": "no_id", "#4": "duplicate_id", **dict.fromkeys(["#5", "#6", "#7", "#8", "#10"], "no_id")}
    assert records(content, id="id") == {"#a": "x", "#b": "x", "#é/#": "x", **rules}
    assert reasons(content, id="id")["#4"] == "has the id a in its column id, which a record before it has"
    assert reasons(content, id="id")["#2"] == "has no id in its column id"


def test_a_record_without_text_is_refused_and_the_others_are_read() -> None:
    content = json_lines({"text": "one"}, {"text": " "}, {"other": 1}, {"text": None}, {"text": [1]}, {"text": 5})
    expected = {"#1": "one", "#2": "empty", "#3": "shape", "#4": "empty", "#5": "shape", "#6": "5"}
    assert records(content) == expected
    assert reasons(content)["#3"] == "has none of the columns text, content, body, document; it has other"
    assert reasons(content)["#5"] == "has a list in its column text, where a text is due"


def test_values_that_are_missing_leave_gaps_in_a_template() -> None:
    content = json_lines({"a": "x", "b": None}, {"a": "y"}, {"a": None, "b": ""}, {"c": 1})
    assert records(content, text="{a}-{b}") == {"#1": "x-", "#2": "y-", "#3": "empty", "#4": "shape"}


def test_a_line_that_is_no_json_object_is_refused_and_says_why() -> None:
    content = b'{"text": "one"}\n{"text": "two"\n\n[1]\n{"text": "\xff"}\n{"text": "\\ud800"}\n{"text": "three"}'
    expected = {"#1": "one", "#2": "damaged", "#3": "damaged", "#4": "not_text", "#5": "damaged", "#6": "three"}
    assert records(content) == expected
    said = reasons(content)
    assert said["#2"] == "is no JSON: Expecting ',' delimiter: line 2 column 1 (char 15)"
    assert said["#3"] == "is JSON, but no object: it is a list"
    assert said["#4"] == "is not UTF-8: invalid start byte at byte 10"
    assert said["#5"] == "holds half of a character: \\ud800 without the other half"


def test_a_refusal_holds_two_hundred_characters_of_its_record() -> None:
    long = "x" * 1000
    content = json_lines([long], {long: long}) + b'{"a": "' + long.encode()
    refusals = [part.outcome for part in parts(b'{"text": ""}\n' + content)[2:]]
    assert [(refusal.rule, len(refusal.excerpt)) for refusal in refusals] == [
        ("damaged", 200),
        ("shape", 200),
        ("damaged", 200),
    ]
    assert all(len(refusal.reason) < 200 for refusal in refusals)
    assert len(parts(b"id,text\n1,2\n" + b"z," * 999 + b"\n")[2].outcome.excerpt) == 200


def test_a_line_too_long_to_be_held_is_refused_and_the_next_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_json, "LONGEST_BYTES", 1 << 17)
    content = json_lines({"text": "one"}, {"text": "x" * (1 << 18)}, {"text": "three"})
    assert records(content) == {"#1": "one", "#2": "too_large", "#3": "three"}
    assert records(json_list({"text": "one"}, {"text": "x" * (1 << 19)})) == {"#1": "one", "!/…": "too_large"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'[{"text": "one"}, {"text": "two"', "a damaged JSON list: Expecting ',' delimiter"),
        (b'[{"text": "one"} {"text": "two"}]', 'a damaged JSON list: \'{"text": "two"}]\' where , or ] is due'),
        (b'[{"text": "one"}] and more', "a damaged JSON list: 'and more' after its end"),
        (b'[{"text": "one"}, {"text": "\xff"}]', "not UTF-8: invalid start byte; save it as UTF-8"),
        (b'text,id\n"one",1\n"two"x,2\nthree,3\n', "a damaged table: ',' expected after '\"' in line 3"),
        (b"text,id\n" + b"one,1\n" * 20_000 + b"\xff,2\n", "not UTF-8: invalid start byte; save it as UTF-8"),
        (gzipped(json_lines(*({"text": os.urandom(99).hex()} for _ in range(1500))))[:-100_000], "gzip data that ends"),
        (arrow_stream(*ROWS)[:-300], "a damaged Arrow file"),
    ],
)
def test_damage_further_on_costs_what_stands_behind_it(content: bytes, reason: str) -> None:
    found = parts(content)
    assert reason in reasons(content).get("!/…", reasons(content).get("", ""))
    assert [part.path for part in found].count("!/…") <= 1


@pytest.mark.parametrize("content", [parquet(*ROWS)[:-20], arrow_stream(*ROWS)[:40], workbook(*ROWS)[:-30]])
def test_damage_at_the_beginning_is_one_refusal(content: bytes) -> None:
    assert [part.outcome.rule for part in parts(content)] == ["damaged"]


def test_fields_that_the_header_does_not_name_are_refused_and_not_guessed() -> None:
    content = b"id,text\n1,one\n2,two,and more\n3\n4,four\n"
    assert records(content) == {"#1": "one", "#2": "damaged", "#3": "damaged", "#4": "four"}
    assert reasons(content)["#2"].startswith("has 3 fields where the header names 2; put fields")


def test_tables_are_told_by_their_beginning() -> None:
    assert records(b'text\none\n"two\nlines"\n') == {"#1": "one", "#2": "two\nlines"}
    assert records(b"note\none\ntwo\n", text="note") == {"#1": "one", "#2": "two"}
    assert records("id;text\n1;Größe, ja\n".encode("utf-8-sig")) == {"#1": "Größe, ja"}
    assert records("id\ttext\n1\tGröße\n".encode("utf-16")) == {"#1": "Größe"}
    long = "x, " * 50_000
    assert records(delimited({"id": 1, "text": long}, {"id": 2, "text": "y"})) == {"#1": long, "#2": "y"}


def test_each_sheet_has_its_own_header() -> None:
    import openpyxl

    book, file = openpyxl.Workbook(), io.BytesIO()
    book.active.append(["text", None, "n"])
    book.active.append(["one", "stray", 1])
    other = book.create_sheet("other")
    for row in (["n", "text"], [None, None], [2, "two"]):
        other.append(row)
    book.create_sheet("empty")
    book.save(file)
    assert records(file.getvalue()) == {"#1": "one", "#2": "two"}


def test_bad_utf_8_in_parquet_costs_its_record_alone() -> None:
    column = pa.array([b"one", b"\xff", b"three"], pa.binary())
    file = io.BytesIO()
    pq.write_table(pa.table({"text": column}), file)
    assert records(file.getvalue()) == {"#1": "one", "#2": "not_text", "#3": "three"}
    strings = pa.Array.from_buffers(pa.string(), 3, column.buffers())
    file = io.BytesIO()
    pq.write_table(pa.table({"text": strings}), file)
    assert records(file.getvalue()) == {"#1": "one", "#2": "not_text", "#3": "three"}


def test_offsets_that_lead_out_of_an_arrow_file_are_refused() -> None:
    content = bytearray(arrow_stream({"text": "one"}))
    content = content.replace((3).to_bytes(8, "little")[:4], (1 << 30).to_bytes(4, "little"))
    assert {part.outcome.rule for part in parts(bytes(content)) if part.outcome} == {"damaged"}


def test_gzip_data_is_unpacked_to_twenty_times_its_size_at_most() -> None:
    bomb = gzipped(b'{"text": "%s"}\n' % (b"a" * 200_000) * 400)
    *found, last = parts(bomb)[1:]
    assert 300 < len(found) < 400
    assert (last.path, last.outcome.rule) == ("!/…", "bomb")
    assert "it would unpack to more than 67,108,864 bytes" in last.outcome.reason


_BOUNDED = """
import resource, sys
from pathlib import Path
import openpyxl, pyarrow.ipc, pyarrow.parquet
from forge_pipelines.sources.readers.reading import Reading, ReadingOptions
from forge_pipelines.sources.readers.records import read_records

[data] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData")]
limit = (int(data.split()[1]) << 10) + (64 << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
for path in sys.argv[1:]:
    entries = read_records(Path(path), ReadingOptions(record_kind="text")).held
    print(sum(len(entry.outcome.text) for entry in entries))
"""


def test_files_of_a_hundred_megabytes_are_read_in_64_of_memory(tmp_path: Path) -> None:
    """The limit is the operating system's, and the one that reading processes have."""
    texts = [os.urandom(1_000).hex() for _ in range(1000)] * 50
    table = pa.table({"text": texts})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=len(texts), compression="none", use_dictionary=False)
    with pa.OSFile(str(tmp_path / "b.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    with (tmp_path / "c.jsonl").open("w") as lines, (tmp_path / "d.csv").open("w") as rows:
        lines.writelines(f'{{"text": "{text}"}}\n' for text in texts)
        rows.writelines(["id,text\n", *(f"1,{text}\n" for text in texts)])
    with (tmp_path / "e.json").open("w") as listed:
        listed.writelines(["[", *(f'{{"text": "{text}"}},\n' for text in texts), '{"text": ""}]'])
    files = sorted(tmp_path.iterdir())
    assert all(file.stat().st_size > 99_000_000 for file in files)
    ran = subprocess.run(
        [sys.executable, "-c", _BOUNDED, *map(str, files)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (ran.stdout.split(), ran.stderr) == (["100000000"] * 5, "")
