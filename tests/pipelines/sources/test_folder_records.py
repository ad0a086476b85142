"""What becomes of data sets and mailboxes that stand in a folder among documents, where nobody says what they hold."""

import io
import json
import mailbox
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from record_samples import arrow_file, arrow_stream, gzipped, json_lines, parquet, said

from forge_pipelines.sources.readers.reading import Begun, Part, Reading, ReadingOptions, Record
from forge_pipelines.sources.readers.unfolding import read

LINES, PARQUET = "application/x-ndjson", "application/vnd.apache.parquet"
CHAT = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}
PREFERENCE = {"prompt": "hi", "chosen": "ho", "rejected": "no"}


def parts(content: bytes) -> list[Part]:
    return [part for part in read(content, ReadingOptions()) if not isinstance(part, Begun)]


def found(content: bytes) -> dict[str, Any]:
    return {part.path: said(part) for part in parts(content)}


@pytest.mark.parametrize(
    ("made", "media_type"),
    [
        (json_lines, LINES),
        (lambda *rows: gzipped(json_lines(*rows)), LINES),
        (parquet, PARQUET),
        (arrow_file, "application/vnd.apache.arrow.file"),
        (arrow_stream, "application/vnd.apache.arrow.stream"),
    ],
)
def test_records_of_every_shape_are_documents_of_their_own(made: Any, media_type: str) -> None:
    rows = [
        CHAT | {"text": None},
        {"messages": None, "text": "one"},
        {"n": 1, "when": "now", "text": None, "tags": ["a", "ü"]},
    ]
    content = made(*rows) if made in (json_lines,) else made(*_same_columns(rows))
    assert found(content) == {
        "": None,
        "#1": [("user", "hi"), ("assistant", "ho")],
        "#2": "one",
        "#3": 'n: 1\nwhen: now\ntags: ["a", "ü"]',
    }
    outcomes = [part.outcome for part in parts(content)[1:]]
    assert {outcome.media_type for outcome in outcomes if isinstance(outcome, Reading | Record)} == {media_type}


def _same_columns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]


def test_preferences_and_questions_are_recognised() -> None:
    content = json_lines(PREFERENCE, {"question": "hi", "answer": "ho"}, {"instruction": "hi", "output": ""})
    assert found(content) == {
        "": None,
        "#1": [("user", "hi"), ("chosen", "ho"), ("rejected", "no")],
        "#2": [("user", "hi"), ("assistant", "ho")],
        "#3": "no_answer",
    }


def test_a_line_that_is_damaged_is_one_refusal() -> None:
    content = json_lines({"a": 1}, {"a": 2}) + b"{damaged\n" + json_lines({"a": 3})
    assert found(content) == {"": None, "#1": "a: 1", "#2": "a: 2", "#3": "damaged", "#4": "a: 3"}


def test_a_conversation_that_is_alone_in_its_file_is_one() -> None:
    assert found(json_lines(CHAT)) == {"": None, "#1": [("user", "hi"), ("assistant", "ho")]}
    long = {"messages": [{"role": "user", "content": "x" * 40_000}, {"role": "assistant", "content": "ho"}]}
    assert [part.path for part in parts(json_lines(long))] == ["", "#1"]
    assert [part.path for part in parts(json_lines(long, long))] == ["", "#1", "#2"]


@pytest.mark.parametrize(
    "content",
    [
        b'{"name": "config", "text": "x", "size": 1}\n',
        b'{\n  "name": "config"\n}\n',
        b'{"a": 1}\nand prose\n',
        json.dumps([CHAT, CHAT]).encode(),
        json.dumps({"prompt": "x", "completion": "y"}).encode(),
        json.dumps({"rows": ["x" * 40_000]}).encode(),
    ],
)
def test_other_json_is_the_text_that_it_was(content: bytes) -> None:
    assert found(content) == {"": content.decode()}


def test_a_notebook_on_one_line_is_a_notebook() -> None:
    cells = [{"cell_type": "markdown", "source": "Pumps " * 4000, "metadata": {}}]
    content = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()
    assert [part.outcome.media_type for part in parts(content) if isinstance(part.outcome, Reading)] == [
        "application/x-ipynb+json"
    ]


def test_json_lines_that_speak_of_notebooks_are_json_lines() -> None:
    assert found(json_lines({"text": 'use "nbformat"', "nbformat": 1}, {"text": "two"})) == {
        "": None,
        "#1": 'use "nbformat"',
        "#2": "two",
    }


def test_a_damaged_parquet_file_is_one_refusal() -> None:
    assert found(parquet({"a": 1})[:-9]) == {"": "damaged"}


def test_bytes_in_a_column_are_refused_and_not_printed() -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"picture": [b"\x89PNG", b"plain"]}), file)
    assert found(file.getvalue()) == {"": None, "#1": "not_text", "#2": "picture: plain"}


def mbox(tmp_path: Path, *mails: EmailMessage) -> bytes:
    box = mailbox.mbox(tmp_path / "box")
    for mail in mails:
        box.add(mail)
    box.close()
    return (tmp_path / "box").read_bytes()


def mail(subject: str, text: str, message_id: str | None = None) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "ada@example.org", "boris@example.org", subject
    if message_id:
        made["Message-ID"] = f"<{message_id}>"
    made.set_content(text)
    return made


def test_the_mails_of_a_mailbox_are_documents_of_their_own(tmp_path: Path) -> None:
    content = mbox(tmp_path, mail("oil", "Grease it.", "a@x"), mail("seal", "From here on, change it.\n"))
    found = {part.path: part for part in parts(content)}
    assert list(found) == ["", "!/a@x", "!/2"]
    assert found[""].outcome is None
    assert [part.parent for part in found.values()] == [None, "", ""]
    assert [part.outcome.media_type for part in list(found.values())[1:]] == ["message/rfc822"] * 2
    assert "Subject: seal\n\nFrom here on, change it." in found["!/2"].outcome.text


def test_a_text_that_begins_with_from_is_a_text() -> None:
    content = b"From here on, the pump is greased.\nNote: weekly.\n\nFrom there on, it is not.\n"
    assert found(content) == {"": content.decode()}
