"""`forge documents` shows what a source or a corpus holds: as a person reads it, or a line for each."""

import os
import pty
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import source_samples
from command_line import Forge, plain

from forge_assets.settings import Settings
from forge_pipelines.manifest import Manifest

COMMAND = [sys.executable, "-m", "forge_assets.cli", "documents"]


@pytest.fixture
def run(forge: Forge) -> Forge:
    """Call `forge documents`."""
    return partial(forge, "documents")


def test_in_a_pipe_each_document_is_one_line_with_its_columns_between_tabs(run: Forge, handbook: Manifest) -> None:
    code, lines, said = run("handbook")
    assert (code, said) == (0, "")
    rows = {row[0]: row[1:] for row in (line.split("\t") for line in lines)}
    assert list(rows) == ["deep/pump.md", "post.zip!/in/seal.eml", "post.zip!/in/seal.eml!/fitter.txt", "strange.txt"]
    assert [len(row) for row in rows.values()] == [5] * 4
    assert rows["post.zip!/in/seal.eml"][:3] == ["text", "message/rfc822", "en"]
    assert rows["post.zip!/in/seal.eml!/fitter.txt"][4].startswith("The seal is worn and must")
    assert len(rows) == handbook.counts["documents"]


def test_a_person_sees_formats_languages_and_rules_with_an_example_then_documents(
    run: Forge, handbook: Manifest
) -> None:
    code, lines, _ = run("handbook", "--limit", "2", terminal=True)
    shown = plain(lines)
    assert code == 0
    made = f"handbook/raw_documents {handbook.fingerprint[:12]}, made {handbook.created_at}"
    assert shown[0] == f"{made}: 4 documents of 6 files, 3 rejected"
    cells = [line.split() for line in shown]
    assert ["message/rfc822", "1"] in cells
    assert ["text/plain", "3"] in cells
    assert ["en", str(handbook.counts["by_language"]["en"])] in cells
    assert ["empty", "2", "empty.txt", "holds", "no", "text"] in cells
    assert any(row[:3] == ["not_text", "1", "program.txt"] for row in cells)
    assert "forge documents handbook --rejected --rule empty" in shown
    at = shown.index("post.zip!/in/seal.eml  message/rfc822 · en · {:,} characters".format(len_of(run, "post.zip")))
    assert shown[at + 1].startswith("    From: hall@works.example")
    assert shown[-1] == "the first 2 are shown; --limit 0 shows all"
    assert not any("strange.txt" in line for line in shown)


def len_of(run: Forge, path: str) -> int:
    return int(run("handbook", "--uri", path)[1][0].split("\t")[4])


def test_a_text_is_found_with_its_line_whatever_its_case_and_highlighted(run: Forge, handbook: Manifest) -> None:
    _, lines, _ = run("handbook", "--grep", "PUMP IS")
    assert [line.split("\t")[0:1] + line.split("\t")[5:] for line in lines] == [
        ["deep/pump.md", "5", "The PUMP is greased once a week."]
    ]
    _, lines, _ = run("handbook", "--grep", "pump is", terminal=True)
    assert lines[-1] == "    \x1b[36m5: \x1b[0mThe \x1b[1;30;43mPUMP is\x1b[0m greased once a week."


def test_a_text_is_found_in_paths_too_and_nowhere_is_exit_code_1(run: Forge, handbook: Manifest) -> None:
    code, lines, _ = run("handbook", "--grep", "deep/")
    assert code == 0
    assert [line.split("\t")[5:] for line in lines] == [["", plain_first_words(run, "deep/pump.md")]]
    code, lines, said = run("handbook", "--grep", "pump (", "--uri", "deep/*")
    assert (code, lines) == (1, [])
    assert said == "forge: handbook/raw_documents has no document at deep/* whose text or path holds «pump (»\n"


def plain_first_words(run: Forge, path: str) -> str:
    return run("handbook", "--uri", path)[1][0].split("\t")[5]


def test_a_regular_expression_matches_by_line_and_a_wrong_one_is_one_sentence(run: Forge, handbook: Manifest) -> None:
    _, lines, _ = run("handbook", "--grep", "^the p.mp", "--regex")
    assert [line.split("\t")[5:] for line in lines] == [["3", source_samples.HALL]]
    code, lines, said = run("handbook", "--grep", "pump (", "--regex")
    assert (code, lines) == (1, [])
    assert said == (
        "forge: --grep 'pump (' is no regular expression: missing ), unterminated subpattern at position 5; mend it, "
        "or leave --regex away to find it as it stands\n"
    )
    assert run("handbook", "--regex")[2] == "forge: --regex says how --grep is read; add --grep TEXT\n"


def test_a_long_line_is_shortened_around_what_was_found(run: Forge, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "long").mkdir()
    (tmp_path / "long/pump.md").write_text("a line, " * 50_000 + "NEEDLE" + ", and so on" * 50_000)
    source_samples.read(tmp_path / "long", "long", settings)
    _, [line], _ = run("long", "--grep", "needle")
    found = line.split("\t")[6]
    assert found.startswith("…")
    assert found.endswith("…")
    assert "NEEDLE" in found[:60]
    assert len(found) < 500


def test_paths_narrow_and_what_stands_in_a_file_comes_with_it(run: Forge, handbook: Manifest) -> None:
    def paths(*arguments: str) -> list[str]:
        return [line.split("\t")[0] for line in run("handbook", *arguments)[1]]

    assert paths("--uri", "**/*.md") == ["deep/pump.md"]
    assert paths("--uri", "*.zip") == ["post.zip!/in/seal.eml", "post.zip!/in/seal.eml!/fitter.txt"]
    assert paths("--uri", "**/*.txt", "--limit", "1") == ["post.zip!/in/seal.eml!/fitter.txt"]
    assert paths("--uri", "*.txt", "--rejected") == ["empty.txt", "program.txt", "void.txt"]
    code, _, said = run("handbook", "--uri", "../*")
    assert code == 1
    assert said.startswith("forge: --uri: the pattern '../*' leaves the folder")


def test_rejections_are_shown_with_rule_and_reason_all_or_of_one_rule(run: Forge, handbook: Manifest) -> None:
    _, lines, _ = run("handbook", "--rejected")
    assert [line.split("\t")[:2] for line in lines] == [
        ["empty.txt", "empty"],
        ["program.txt", "not_text"],
        ["void.txt", "empty"],
    ]
    assert [line.split("\t") for line in run("handbook", "--rule", "empty")[1]] == [
        ["empty.txt", "empty", "holds no text", ""],
        ["void.txt", "empty", "holds no text", ""],
    ]
    assert [line.split("\t")[0] for line in run("handbook", "--rejected", "--grep", "NO TEXT")[1]] == [
        "empty.txt",
        "void.txt",
    ]
    _, shown, _ = run("handbook", "--rejected", "--grep", "no text", "--limit", "1", terminal=True)
    assert plain(shown) == ["empty.txt  empty", "    holds no text", "the first 1 are shown; --limit 0 shows all"]


def test_a_rule_that_rejected_nothing_is_one_sentence_with_those_that_did(run: Forge, handbook: Manifest) -> None:
    code, lines, said = run("handbook", "--rejected", "--rule", "emty")
    assert (code, lines) == (1, [])
    assert said == ("forge: handbook/raw_documents rejected nothing by a rule 'emty'; its rules are empty, not_text\n")


def test_a_whole_text_is_printed_as_it_is_and_in_a_pipe_as_one_line(run: Forge, handbook: Manifest) -> None:
    text = f"# Pumps\n\n{source_samples.HALL}\n\nThe PUMP is greased once a week.\n"
    _, shown, _ = run("handbook", "--uri", "deep/*", "--full", terminal=True)
    assert shown[1:] == [*text.split("\n"), ""]
    _, [line], _ = run("handbook", "--uri", "deep/*", "--full")
    assert line.split("\t")[5] == text.replace("\n", "\\n")


@pytest.mark.parametrize("arguments", [(), ("--full",), ("--grep", "turn")])
@pytest.mark.parametrize("terminal", [False, True])
def test_escapes_in_a_document_never_reach_the_terminal(
    run: Forge, handbook: Manifest, arguments: tuple[str, ...], terminal: bool
) -> None:
    _, lines, _ = run("handbook", "--uri", "strange.txt", *arguments, terminal=terminal)
    said = "\n".join(lines)
    assert r"\x07" in said
    assert r"\x1b[31m" in said
    assert r"\u202e" in said
    assert not re.search("[\x07\u202e]", said)
    assert "\x1b[31m" not in said


def test_a_corpus_shows_train_and_held_out_documents_with_their_part(
    run: Forge, settings: Settings, tmp_path: Path
) -> None:
    manifest = source_samples.books(tmp_path / "pages", settings)
    rows = [line.split("\t") for line in run("books")[1]]
    parts = [row[0] for row in rows]
    assert parts == ["train"] * manifest.counts["train"] + ["heldout"] * manifest.counts["heldout"]
    assert {row[1] for row in rows} == {"pages"}
    assert sorted(row[2] for row in rows) == [f"{number:02}.txt" for number in range(20)]
    [rejected] = run("books", "--rejected")[1]
    assert rejected.split("\t")[:3] == ["pages", "stub.txt", "length"]
    _, shown, _ = run("books", "--uri", "07.txt", terminal=True)
    assert re.search(
        r"^07\.txt  (train|heldout) · pages · text/plain · en · \d+ characters$", "\n".join(plain(shown)), re.M
    )


def test_a_chat_is_shown_with_its_speakers(run: Forge, settings: Settings, tmp_path: Path) -> None:
    source_samples.chats(tmp_path / "chats", settings)
    _, shown, _ = run("helpdesk", "--full", "--limit", "1", terminal=True)
    assert plain(shown)[1:4] == [
        "[user] Where does the pump stand?",
        "",
        "[assistant] In the hall, at the door to the yard.",
    ]
    assert [line.split("\t")[1] for line in run("helpdesk")[1]] == ["chat", "chat"]


def test_a_name_that_was_never_made_is_the_stores_own_sentence(run: Forge, settings: Settings) -> None:
    code, _, said = run("nothing")
    assert code == 1
    assert said == f"forge: nothing/raw_documents was never made in {settings.store}; materialize it first\n"
    assert run("books/trained_checkpoint")[2] == (
        "forge: books/trained_checkpoint holds no documents; write books/raw_documents or books/validated_corpus\n"
    )


def test_a_source_without_rejections_has_none_to_show(run: Forge, settings: Settings, tmp_path: Path) -> None:
    source_samples.chats(tmp_path / "chats", settings)
    assert run("helpdesk", "--rejected") == (0, [], "forge: helpdesk/raw_documents has no rejection\n")
    assert run("helpdesk", "--rule", "empty")[2].endswith("rejected nothing by a rule 'empty'; it rejected nothing\n")


def test_on_a_real_terminal_it_is_drawn_and_a_pipe_that_closes_early_is_no_fault(
    settings: Settings, tmp_path: Path
) -> None:
    source_samples.books(tmp_path / "pages", settings)
    environment = {**os.environ, "COLUMNS": "100", "TERM": "xterm-256color"}
    ours, theirs = pty.openpty()
    subprocess.run([*COMMAND, "books", "--grep", "page 7"], stdout=theirs, env=environment, check=True, timeout=60)
    os.close(theirs)
    drawn = os.read(ours, 65536).decode()
    os.close(ours)
    assert "\x1b[1;30;43mPage 7\x1b[0m" in drawn
    assert "\t" not in drawn
    piped = subprocess.Popen(
        [*COMMAND, "books"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    )
    assert piped.stdout is not None
    piped.stdout.close()
    _, said = piped.communicate(timeout=60)
    assert "Traceback" not in said


def test_what_a_models_shards_rejected_is_shown_and_their_texts_are_not(
    run: Forge, settings: Settings, tmp_path: Path
) -> None:
    source_samples.assistant(tmp_path / "desk", settings)
    [line], _ = run("clerk", "--rejected")[1:]
    said = "is no chat but a text, and training learns from chats"
    assert line.split("\t") == ["notes", "hall.txt", "no_chat", said, source_samples.HALL]
    assert run("clerk/tokenized_shards", "--rule", "no_chat")[1] == [line]
    code, lines, said = run("clerk")
    assert (code, lines) == (1, [])
    assert said == (
        "forge: clerk/tokenized_shards holds token ids, no texts; add --rejected, or look at the documents of a "
        "corpus\n"
    )
    assert "rejected nothing by a rule 'length'; its rules are no_chat" in run("clerk", "--rule", "length")[2]
