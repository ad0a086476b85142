"""What the readers promise: content decides, text survives whole, and what is no text says so."""

import codecs
import os
import random
import re
import time

import pytest
from format_samples import GERMAN, JAPANESE, RUSSIAN
from reading_files import read, read_parts, refused

from forge_pipelines.sources.place import Refusal


@pytest.mark.parametrize(
    ("text", "encoding", "mark"),
    [
        (GERMAN, "utf-8", b""),
        (GERMAN, "utf-8", codecs.BOM_UTF8),
        (GERMAN, "utf-16-le", codecs.BOM_UTF16_LE),
        (GERMAN, "utf-16-be", codecs.BOM_UTF16_BE),
        (GERMAN, "utf-32-le", codecs.BOM_UTF32_LE),
        (GERMAN, "cp1252", b""),
        (GERMAN, "latin-1", b""),
        (RUSSIAN, "cp1251", b""),
        (JAPANESE, "shift_jis", b""),
        (JAPANESE, "euc_jp", b""),
    ],
)
def test_text_in_any_encoding_is_read_whole(text: str, encoding: str, mark: bytes) -> None:
    assert read(mark + text.encode(encoding)).text == text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x7fELF\x02\x01", "a program"),
        (b"a log line\n\0\0\0\0rest", "it holds a NUL"),
        (b"\xc3\x28\0\xff", "it holds a NUL"),
        (codecs.BOM_UTF16_LE + b"odd", "marked as utf-16-le"),
        (codecs.BOM_UTF8 + b"\xff\xff\xff", "marked as utf-8"),
        (bytes(random.Random(7).choices(range(1, 256), k=3000)), "fit no known encoding"),
    ],
)
def test_what_is_no_text_says_why(content: bytes, reason: str) -> None:
    rule, said = refused(content)
    assert rule == "not_text"
    assert re.match(f"is not text: .*{reason}", said)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"Just a sentence.\nAnd another one - with a dash.", "text/plain"),
        (b"# Title\n\nSee [this](a.md) and **that**.\n\n## More\n", "text/markdown"),
        (b'<p align="center"><img src="a.png"></p>\n\n# Title\n\n## Use\n\n```sh\nls\n```\n', "text/markdown"),
        (b"Title\n=====\n\n.. note::\n\n   Use ``a`` or :func:`b`.\n", "text/x-rst"),
        (b"<!doctype html><title>T</title><p>A paragraph of a page.</p>", "text/html"),
        (
            b"\xef\xbb\xbf<?xml version='1.0' encoding='utf-8'?><!-- c -->\n<!DOCTYPE HTML><p>A paragraph.</p>",
            "text/html",
        ),
        (
            codecs.BOM_UTF16_LE + "<HTML><body><p>A paragraph of a page.</p></body></HTML>".encode("utf-16-le"),
            "text/html",
        ),
    ],
)
def test_the_content_decides_what_a_file_is(content: bytes, media_type: str) -> None:
    assert read(content).media_type == media_type


def test_a_page_keeps_title_headings_lists_tables_and_code_but_no_navigation() -> None:
    page = (
        "<!doctype html><head><title>Manual &amp; more</title></head><body><nav><a href='/'>Home</a></nav><main>"
        f"<h1>Pumps</h1>{'<p>The pump is greased once a week, by whoever opens the hall in the morning.</p>' * 4}"
        "<ul><li>grease</li><li>cloth</li></ul><table><tr><th>part</th><th>oil</th></tr><tr><td>shaft</td><td>yes</td>"
        "</tr></table><pre><code>start --now\nstop</code></pre></main><footer>Imprint and cookies</footer></body>"
    )
    text = read(page.encode()).text
    assert text.startswith("# Manual & more\n\n# Pumps\n")
    for kept in ("once a week", "- grease", "| part | oil |", "start --now\nstop"):
        assert kept in text
    assert "Home" not in text
    assert "Imprint" not in text


@pytest.mark.parametrize("declaration", ["<meta charset=iso-8859-1>", ""])
def test_a_page_in_an_old_encoding_is_read_whole(declaration: str) -> None:
    page = f"<!doctype html><html><head>{declaration}</head><body><p>{GERMAN}</p></body></html>"
    assert "Größere Schäden" in read(page.encode("latin-1")).text


def test_a_page_without_content_is_refused_with_its_title() -> None:
    refusal = read_parts(b"<!doctype html><html><head><title>Menu</title></head><body></body></html>")[""]
    assert isinstance(refusal, Refusal)
    assert (refusal.rule, refusal.excerpt) == ("no_content", "Menu")


@pytest.mark.parametrize(
    "body", ["<div><p>some text here" * 5000, "<div>" * 100_000 + "the end", "<p>" + "many words " * 1_100_000]
)
def test_a_page_beyond_the_parsers_limits_is_refused_and_never_cut_short(body: str) -> None:
    rule, reason = refused(f"<!doctype html><html><body>{body}".encode())
    assert rule == "html_limits"
    assert "is HTML that cannot be read whole" in reason


@pytest.mark.parametrize(
    "line",
    [
        b"](" * 40_000,
        b"`" * 60_000,
        b"[" * 60_000,
        b":a" * 40_000,
        b"=" * 60_000,
        b"# " * 40_000,
        b"*" * 60_000,
        b"<!---->" * 9_000,
    ],
)
def test_a_hostile_line_is_judged_in_linear_time(line: bytes) -> None:
    started = time.process_time()
    assert read(line).text == line.decode()
    assert time.process_time() - started < 1


def test_random_bytes_never_pass_as_text() -> None:
    for _ in range(20):
        assert refused(os.urandom(4096))[0] == "not_text"
