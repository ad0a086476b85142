import random
import time

import pytest
from documents_in_memory import document, pages

from forge_pipelines.corpus.config import LengthBounds, Split
from forge_pipelines.corpus.duplicates import drop_duplicates
from forge_pipelines.corpus.length import bound_length
from forge_pipelines.corpus.normalize import canonical, normalize
from forge_pipelines.corpus.split import part_of
from forge_pipelines.manifest import sha256_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\nb\rc\u2028d\x0ce", "a\nb\nc\nd\ne"),
        ("cafe\u0301", "caf\u00e9"),
        ("cafe\x00\u0301", "caf\u00e9"),
        ("\ufeffa\x00b\x1bc\x85d\te", "abc\nd\te"),
        ("a  \t\nb\u00a0\n", "a\nb"),
        ("a\n\n\n\n\n\nb", "a\n\n\nb"),
        ("    indented", "    indented"),
        ("\x00\x01\x02", ""),
    ],
)
def test_one_text_has_one_spelling(text: str, expected: str) -> None:
    assert canonical(text, keep_blanks=False) == expected
    assert canonical(expected, keep_blanks=False) == expected


def test_code_and_tables_keep_their_blanks() -> None:
    code, table, prose = normalize(
        [
            document("s", "a.py", "x = 1\r\n\r\n\r\n\r\n\r\ny = 2  \n"),
            document("s", "a.tsv", "name\tunit\nvalve\t\n"),
            document("s", "a.md", "name\tunit\nvalve\t\n"),
        ]
    ).kept
    assert code.text == "x = 1\n\n\n\n\ny = 2  "
    assert table.text == "name\tunit\nvalve\t"
    assert prose.text == "name\tunit\nvalve"


def test_normalising_recomputes_the_text_hash_and_keeps_the_identity() -> None:
    raw = document("s", "a.md", "one\r\n")
    (kept,) = normalize([raw]).kept
    assert kept.doc_id == raw.doc_id
    assert kept.text_sha256 == sha256_text("one") != raw.text_sha256


def test_long_runs_take_linear_time() -> None:
    started = time.process_time()
    for character in (" ", "\n", "\r", "a", "\x00"):
        canonical(character * 1_000_000 + "x", keep_blanks=False)
    assert time.process_time() - started < 5


def test_length_bounds_are_inclusive_and_say_why() -> None:
    batch = [document("s", f"{size}.md", "x" * size) for size in (4, 5, 10, 11)]
    outcome = bound_length(batch, LengthBounds(min_characters=5, max_characters=10))
    assert [each.uri for each in outcome.kept] == ["5.md", "10.md"]
    assert [(each.uri, each.reason) for each in outcome.rejected] == [
        ("4.md", "4 characters, fewer than 5"),
        ("11.md", "11 characters, more than 10"),
    ]


def test_the_survivor_of_duplicates_does_not_depend_on_the_order_and_is_named() -> None:
    copies = [document(source, uri, "same text") for source, uri in [("b", "1"), ("a", "3"), ("a", "2"), ("b", "0")]]
    batch = [*copies, document("b", "4", "other text")]
    for seed in range(5):
        random.Random(seed).shuffle(batch)
        outcome = drop_duplicates(batch, preference={"a": 0, "b": 1})
        assert {(each.source, each.uri) for each in outcome.kept} == {("a", "2"), ("b", "4")}
        assert {(each.source, each.uri) for each in outcome.rejected} == {("b", "1"), ("a", "3"), ("b", "0")}
        assert {each.reason.split(" (")[0] for each in outcome.rejected} == {"same text as a: 2"}


def test_the_preferred_source_survives_even_when_its_address_comes_last() -> None:
    batch = [document("a", "1", "same"), document("b", "0", "same")]
    assert [each.source for each in drop_duplicates(batch, preference={"b": 0, "a": 1}).kept] == ["b"]
    assert [each.source for each in drop_duplicates(batch, preference={"a": 0, "b": 1}).kept] == ["a"]


def test_the_split_draws_the_fraction_that_it_is_asked_for() -> None:
    hashes = [each.text_sha256 for each in pages("s", 4000)]
    for fraction in (0.02, 0.5):
        held = sum(part_of(text_sha256, Split(heldout_fraction=fraction)) == "heldout" for text_sha256 in hashes)
        assert abs(held / 4000 - fraction) < 4 * (fraction * (1 - fraction) / 4000) ** 0.5


def test_another_salt_draws_another_split() -> None:
    hashes = [each.text_sha256 for each in pages("s", 200)]
    one, other = (
        [part_of(text_sha256, Split(heldout_fraction=0.5, salt=salt)) for text_sha256 in hashes] for salt in "ab"
    )
    assert one != other
