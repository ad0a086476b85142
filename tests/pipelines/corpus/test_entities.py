import time
from collections.abc import Sequence

import pytest

from forge_pipelines.corpus.personal.entities import Entity, found_entities, merge_tags
from forge_pipelines.corpus.personal.findings import Found, Kind
from forge_pipelines.corpus.personal.labels import Tag, usual_kinds
from forge_pipelines.corpus.personal.token_classifier import Windows


def merged(text: str, tokens: Sequence[str], tags: str) -> list[tuple[str, str]]:
    """Return label and text of each entity; tokens stand in the text in their order."""
    spans, reached = [], 0
    for token in tokens:
        start = text.index(token, reached)
        reached = start + len(token)
        spans.append((start, reached))
    entities = merge_tags(text, spans, [Tag.of(tag) for tag in tags.split()])
    return [(entity.label, text[entity.start : entity.stop]) for entity in entities]


@pytest.mark.parametrize(
    ("scheme", "tags"),
    [
        ("BIO", "O B-PER I-PER O B-PER B-PER B-LOC"),
        ("BIOES", "O B-PER E-PER O S-PER S-PER S-LOC"),
        ("BILOU", "O B-PER L-PER O U-PER U-PER U-LOC"),
        ("IOB1", "O I-PER I-PER O I-PER B-PER I-LOC"),
        ("BIOES whose beginnings are lost", "O I-PER E-PER O E-PER S-PER E-LOC"),
    ],
)
def test_every_scheme_of_tags_gives_whole_entities(scheme: str, tags: str) -> None:
    text = "with Ada Byron, Anna Boris Leeds"
    found = merged(text, ["with", "Ada", "Byron", ",", "Anna", "Boris", "Leeds"], tags)
    assert found == [("PER", "Ada Byron"), ("PER", "Anna"), ("PER", "Boris"), ("LOC", "Leeds")], scheme


def test_labels_without_a_scheme_join_what_stands_together() -> None:
    assert merged("Ada Byron, Boris", ["Ada", "Byron", ",", "Boris"], "name name O name") == [
        ("name", "Ada Byron"),
        ("name", "Boris"),
    ]


@pytest.mark.parametrize("rest", ["O", "I-PER", "B-PER", "B-LOC"])
def test_the_first_token_of_a_word_says_what_the_word_is(rest: str) -> None:
    assert merged("Castellan came", ["Cast", "ell", "an", " came"], f"B-PER {rest} {rest} O") == [("PER", "Castellan")]
    assert merged("Castellan came", ["Cast", "ell", "an", " came"], f"O {rest} {rest} O") == []


def test_blanks_that_a_tokenizer_counts_to_a_token_stay_in_the_text() -> None:
    assert merged("see Ada Byron .", ["see", " Ada", " Byron", " "], "O B-PER I-PER I-PER") == [("PER", "Ada Byron")]


def test_where_no_blank_stands_between_words_each_token_counts() -> None:
    assert merged("王小明住在北京", list("王小明住在北京"), "B-PER I-PER I-PER O O B-LOC I-LOC") == [
        ("PER", "王小明"),
        ("LOC", "北京"),
    ]


def test_several_tokens_of_one_character_are_one() -> None:
    spans, tags = [(0, 1), (0, 1), (1, 3)], [Tag.of("B-PER"), Tag.of("O"), Tag.of("O")]
    assert merge_tags("Éva", spans, tags) == [Entity("PER", 0, 3)]
    assert merge_tags("Éva", spans, [Tag.of("O"), Tag.of("B-PER"), Tag.of("O")]) == []


@pytest.mark.parametrize(
    ("text", "entities", "expected"),
    [
        ("Ada Byron", [("GIVEN", "Ada"), ("FAMILY", "Byron")], ["Ada Byron"]),
        ("Ada, Byron", [("GIVEN", "Ada"), ("FAMILY", "Byron")], ["Ada", "Byron"]),
        ("Ada Byron", [("GIVEN", "Ada"), ("GIVEN", "Byron")], ["Ada", "Byron"]),
        ("12, Mill Street\nBoris", [("NUMBER", "12"), ("STREET", "Mill Street"), ("GIVEN", "Boris")], None),
        ("Anna-Lena's hat", [("GIVEN", "Anna")], ["Anna-Lena"]),
        ("Anna-Lena", [("GIVEN", "Anna"), ("FAMILY", "Lena")], ["Anna-Lena"]),
        ("an Anna-based tale", [("GIVEN", "Anna")], ["Anna"]),
        ("Shaquille O'Neil", [("GIVEN", "Shaquille O")], ["Shaquille O'Neil"]),
        ("Ada of Acme", [("GIVEN", "Ada"), ("ORG", "Acme")], ["Ada"]),
    ],
)
def test_parts_of_a_name_or_an_address_are_one_finding(
    text: str, entities: Sequence[tuple[str, str]], expected: list[str] | None
) -> None:
    kinds = dict.fromkeys(("GIVEN", "FAMILY"), Kind.NAME) | dict.fromkeys(("NUMBER", "STREET"), Kind.ADDRESS)
    placed = [Entity(label, text.index(part), text.index(part) + len(part)) for label, part in entities]
    found = found_entities(text, placed, kinds)
    assert [text[each.start : each.stop] for each in found] == (expected or ["12, Mill Street", "Boris"])


def test_a_long_chain_of_names_takes_linear_time() -> None:
    text = "Anna-" * 60_000
    entities = [Entity("PER", start, start + 4) for start in range(0, len(text), 5)]
    started = time.process_time()
    assert found_entities(text, entities, {"PER": Kind.NAME}) == [Found(Kind.NAME, 0, len(text) - 1)]
    assert time.process_time() - started < 2


def test_a_finding_has_the_kind_of_its_label() -> None:
    entities = [Entity("PER", 0, 3), Entity("LOC", 7, 12)]
    assert found_entities("Ada of Leeds", entities, {"LOC": Kind.ADDRESS}) == [Found(Kind.ADDRESS, 7, 12)]


def test_the_usual_labels_are_known_however_they_are_written() -> None:
    names = ["PER", "person", "private_person", "GIVENNAME1", "FIRST_NAME", "Surname"]
    addresses = ["street_address", "STREET", "BUILDINGNUM", "zip-code", "private_address"]
    others = ["LOC", "GPE", "CITY", "ORG", "MISC", "DATE", "LABEL_1"]
    known = usual_kinds([*names, *addresses, *others])
    assert known == dict.fromkeys(names, Kind.NAME) | dict.fromkeys(addresses, Kind.ADDRESS)


@pytest.mark.parametrize(("most", "overlap"), [(10, 4), (62, 31), (510, 64)])
def test_windows_cover_every_token_with_what_stands_around_it(most: int, overlap: int) -> None:
    for num_tokens in (1, most - 1, most, most + 1, most + overlap, 2 * most, 7 * most + 3):
        windows = Windows.over(num_tokens, most, overlap)
        told_by = windows.join([[start] * windows.size for start in windows.starts])
        assert len(told_by) == num_tokens
        for token, start in enumerate(told_by):
            assert token - start >= min(token, overlap // 2)
            assert start + windows.size - token > min(num_tokens - 1 - token, overlap // 2 - 1)
