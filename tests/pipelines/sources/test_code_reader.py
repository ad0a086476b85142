"""What telling code from prose promises: a program keeps every blank, and prose about programs stays prose."""

import sys
import sysconfig
import time
from itertools import islice
from pathlib import Path

import code_samples
import pytest
from code_samples import MEDIA_TYPES
from reading_files import read

from forge_pipelines.corpus.normalize import blanks_matter
from forge_pipelines.sources.readers import code


@pytest.mark.parametrize(("text", "media_type"), MEDIA_TYPES.items(), ids=MEDIA_TYPES.values())
def test_a_program_is_told_by_its_content_and_passes_as_it_stands(text: str, media_type: str) -> None:
    reading = read(text.encode())
    assert (reading.text, reading.media_type) == (text, media_type)
    assert blanks_matter(media_type)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("text", [code_samples.PYTHON, code_samples.JSON, code_samples.XML, code_samples.PHP])
def test_a_program_is_told_in_any_encoding_and_with_any_line_ends(text: str, encoding: str) -> None:
    content = text.replace("\n", "\r\n").encode(encoding)
    assert read(content).media_type == MEDIA_TYPES[text]


@pytest.mark.parametrize(
    ("line", "media_type"),
    [
        ("#!/usr/bin/env python3", "text/x-python"),
        ("#!/usr/bin/python3.11 -u", "text/x-python"),
        ("#! /bin/sh", "text/x-shellscript"),
        ("#!/usr/bin/env -S bash -e", "text/x-shellscript"),
        ("#!/usr/bin/perl -w", "text/x-perl"),
        ("#!/usr/bin/env ruby", "text/x-ruby"),
        ("#!/usr/bin/env node", "text/javascript"),
        ("#!/usr/bin/unheard-of", "text/plain"),
    ],
)
def test_the_first_line_decides_where_it_names_a_program(line: str, media_type: str) -> None:
    assert read(f"{line}\nrun\n".encode()).media_type == media_type


@pytest.mark.parametrize(
    ("text", "media_type"), code_samples.documents_about_code().items(), ids=["markdown", "rst", "plain"]
)
def test_prose_that_shows_programs_is_prose(text: str, media_type: str) -> None:
    assert read(text.encode()).media_type == media_type


@pytest.mark.parametrize(
    "text",
    [
        "Title: The pump\nDate: Monday\nBy: Ada\n\nThe pump is greased weekly.\nIt stands in the hall.\n",
        "To do:\n- grease the pump\n- hang up the cloth\nAda\n",
        "[pump]\nname = main one\n",
        "{not json}\n",
        "[1] The first footnote.\n[2] The second.\n",
        '{"cut": ["off"',
        "<p>A piece of a page.</p>\n",
        "x = 1\ny = 2\n",
        "import this\n",
    ],
)
def test_what_is_not_certain_is_plain_text(text: str) -> None:
    assert read(text.encode()).media_type == "text/plain"


@pytest.mark.parametrize(
    "line",
    [
        "public static " * 4000,
        "class " + "a" * 60_000,
        "import " + "{" * 60_000,
        "a = " * 15_000,
        "x: " * 20_000,
        "- " * 30_000,
        "(" * 60_000,
        "<a " + "b " * 30_000,
        "<!--" * 15_000,
        '"""\n' * 15_000,
        "/*\n" * 20_000,
        "```\n" * 15_000,
        "a:\n - b\nc: d\ne: f\ng: " + "[" * 60_000,
        "a:\n - b\nc: d\ne: f\ng: " + "{a: " * 15_000,
        "a = 1\nb = 2\nc = 3\nd = " + "[" * 60_000,
        "a." * 30_000 + "a = 1\nb = 2\nc = 3\nd = 4\n",
        "def f(\n" * 9000,
        "select " * 9000 + ";\n",
        "the words of a long line " * 2500,
    ],
    ids=lambda line: line[:12],
)
def test_a_hostile_text_is_judged_in_a_moment(line: str) -> None:
    started = time.process_time()
    code.media_type(line)
    assert time.process_time() - started < 0.5


def test_nearly_all_of_pythons_own_library_is_told_to_be_python() -> None:
    folder = Path(sysconfig.get_paths()["stdlib"])
    paths = islice((path for path in sorted(folder.glob("*.py")) if path.stat().st_size > 2000), 150)
    found = [code.media_type(path.read_text(encoding="utf-8", errors="replace")) for path in paths]
    assert len(found) > 100
    assert found.count("text/x-python") >= 0.95 * len(found)


def test_hardly_any_of_the_prose_that_packages_bring_is_taken_for_code() -> None:
    folders = [Path(path) for path in sys.path if path.endswith("site-packages")]
    paths = sorted(
        path for folder in folders for kind in ("md", "rst", "txt") for path in folder.rglob(f"LICEN*.{kind}")
    )
    texts = {path.read_text(encoding="utf-8", errors="replace") for path in paths[:300]}
    assert len(texts) > 20
    assert [code.media_type(text) for text in texts].count(None) >= 0.99 * len(texts)
