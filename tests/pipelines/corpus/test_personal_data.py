import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from documents_in_memory import document
from labelled.texts import Labelled, labelled_texts, score
from pydantic import ValidationError

from forge_pipelines.corpus.personal import checksums
from forge_pipelines.corpus.personal.config import PersonalDataConfig
from forge_pipelines.corpus.personal.findings import Found, Kind, resolve
from forge_pipelines.corpus.personal.names import names_version
from forge_pipelines.corpus.personal.payment import is_iban
from forge_pipelines.corpus.personal.redact import redact_personal, replaced
from forge_pipelines.corpus.personal.search import PersonalDataSearch
from forge_pipelines.errors import ConfigError
from forge_pipelines.manifest import Segment, sha256_text

SEARCH = PersonalDataSearch(PersonalDataConfig())
LEAST_RECALL = {Kind.PHONE: 0.93, Kind.IP: 0.97, Kind.API_KEY: 0.98, Kind.EMAIL: 0.99}
# Part numbers of the shape 212-555-0147 are planted without a word beside them: nothing tells them from a telephone.
MOST_FALSE_OF_LOOKALIKES = {Kind.PHONE: 0.025}


def redacted(text: str, **config: Any) -> str:
    return replaced(text, PersonalDataSearch(PersonalDataConfig(**config)).find(text))


@pytest.fixture(scope="module")
def texts() -> Sequence[Labelled]:
    return list(labelled_texts(seed=7, num_each=60))


def test_recall_and_false_positives_stay_within_their_bounds_for_each_kind(texts: Sequence[Labelled]) -> None:
    result = score(texts, SEARCH.find)
    planted, found, false = Counter[Kind](), Counter[Kind](), Counter[Kind]()
    for total, counts in ((planted, result.planted), (found, result.found), (false, result.false)):
        for (kind, _), count in counts.items():
            total[kind] += count
    assert set(planted) == set(Kind) - {Kind.NAME, Kind.ADDRESS} and min(planted.values()) == 360
    for kind in planted:
        assert found[kind] >= LEAST_RECALL.get(kind, 0.99) * planted[kind], kind
        assert false[kind] <= MOST_FALSE_OF_LOOKALIKES.get(kind, 0.0005) * result.num_lookalikes, kind


def test_the_score_sees_what_is_missed_and_what_is_false(texts: Sequence[Labelled]) -> None:
    nothing = score(texts, lambda _: [])
    assert sum(nothing.found.values()) == 0 == sum(nothing.false.values())
    everything = score(texts, lambda text: [Found(Kind.EMAIL, place, place + 1) for place in range(0, len(text), 50)])
    assert sum(everything.found.values()) == 0 and sum(everything.false.values()) > 10_000


def test_labelled_texts_are_the_same_for_the_same_seed() -> None:
    assert list(labelled_texts(1, 2)) == list(labelled_texts(1, 2)) != list(labelled_texts(2, 2))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to Anna <anna.o'neil+x@mail.example.co.uk>.", "Write to Anna <<EMAIL>>."),
        ("Tel. 030 1234567 / 0171 7654321", "Tel. <PHONE> / <PHONE>"),
        ("+49 (0)30 1234567, +33 1 23 45 67 89 75001 Paris", "<PHONE>, <PHONE> 75001 Paris"),
        ("(212) 555-0147, 212-555-0148 212-555-0149", "<PHONE>, <PHONE> <PHONE>"),
        (
            "+1-780-563-6083x7783, 001-484-614-5140 ext. 12; +49 30 123456 / 0049 171 1234567",
            "<PHONE>, <PHONE>; <PHONE>",
        ),
        ("Please use 0113 496 0889 or (0191) 496 0377 for this.", "Please use <PHONE> or <PHONE> for this."),
        ("(056)-5088995, 036-62 58 51, 08-391 50 00", "<PHONE>, <PHONE>, <PHONE>"),
        ("0612345678, 07700900123, 01214960123, 015112345678", "<PHONE>, <PHONE>, <PHONE>, <PHONE>"),
        ("DE89 3704 0044 0532 0130 00 or GB82WEST12345698765432.", "<IBAN> or <IBAN>."),
        ("4111 1111 1111 1111 and 3782-822463-10005", "<CARD> and <CARD>"),
        ("192.168.178.20:8080, [2001:db8::1]", "<IP>:8080, [<IP>]"),
        ("SSN 123-45-6789; X1234567L; RSSMRA85T10A562S", "SSN <NATIONAL_ID>; <NATIONAL_ID>; <NATIONAL_ID>"),
        ("born in York on 12 March 1980, hired on 1 May 2003", "born in York on <BIRTH_DATE>, hired on 1 May 2003"),
        ("geb. 12.03.1980. Vertrag vom 01.04.2003", "geb. <BIRTH_DATE>. Vertrag vom 01.04.2003"),
        ('{"api_key": "9f86d081884c7d659a2feaa0c55ad015"}', '{"api_key": "<API_KEY>"}'),
        ("postgres://app:Tr0ub4dor@db.example.org/app", "postgres://app:<API_KEY>/app"),
        ("-----BEGIN PRIVATE KEY-----\nMIIC\n-----END PRIVATE KEY-----\nafter", "<PRIVATE_KEY>\nafter"),
        ("-----BEGIN RSA PRIVATE KEY-----\n" + ("A1b2" * 16 + "\n") * 3, "<PRIVATE_KEY>\n"),
    ],
)
def test_what_is_found_is_replaced_by_a_typed_placeholder(text: str, expected: str) -> None:
    assert redacted(text) == expected
    assert redacted(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Order 212-555-0147, ISBN 978-3-16-148410-0, 2024-01-15T10:20:30Z",
        "IBAN DE88 3704 0044 0532 0130 00, card 4111 1111 1111 1112, 12345678A",
        "version 10.15.7.1, § 4.2.1.3, Chrome/120.0.6099.109, 127.0.0.1, 12:30:45, std::vector, abc::def",
        "550e8400-e29b-41d4-a716-446655440000, da39a3ee5e6b4b0d3255bfef95601890afd80709, #1f2e3d, 1,234,567,890",
        "git@github.com:example/forge.git, icon@2x.png, lodash@4.17.21, @dataclass",
        'token: Optional[str] = None; api_key = os.environ["API_KEY"]; key=user_profile_settings_v2',
        "0672311208, 016000275287, merge 0650614982, 00612345678, 0812345678, 3471234567, 012-345-678",
        "He was born in 1950. The contract of 12.03.1980 stands; 000-12-3456, 987-65-4320",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    ("rule", "number", "wrong"),
    [
        (is_iban, "MT84 MALT 0110 0001 2345 MTLC AST0 01S", "MT84 MALT 0110 0001 2345 MTLC AST0 02S"),
        (checksums.is_luhn, "4111111111111111", "4111111111111112"),
        (checksums.is_steuer_id, "86095742719", "86095742718"),
        (checksums.is_nir, "255081416802538", "255081416802539"),
        (checksums.is_dni, "12345678Z", "12345678A"),
        (checksums.is_codice_fiscale, "RSSMRA85T10A562S", "RSSMRA85T10A562T"),
        (checksums.is_nhs_number, "9434765919", "9434765918"),
        (checksums.is_pesel, "44051401359", "44051401358"),
        (checksums.is_bsn, "111222333", "111222334"),
        (checksums.is_rijksregisternummer, "85073003328", "85073003329"),
        (checksums.is_ahv, "7569217076985", "7569217076984"),
        (checksums.is_personnummer, "8112189876", "8112189875"),
        (checksums.is_nif, "123456789", "123456788"),
        (checksums.is_ssn, "123456789", "666456789"),
        (checksums.is_nino, "AB123456C", "GB123456C"),
        (checksums.is_article_number, "0306406152", "0306406153"),
        (checksums.is_article_number, "036000291452", "036000291453"),
    ],
)
def test_check_digits_hold_for_published_specimens_and_not_for_their_neighbours(
    rule: Any, number: str, wrong: str
) -> None:
    assert rule(number) and not rule(wrong)


def test_findings_that_overlap_become_one_of_the_first_kind_and_lose_no_character() -> None:
    phone, card, email = Found(Kind.PHONE, 5, 12), Found(Kind.CARD, 0, 8), Found(Kind.EMAIL, 20, 25)
    assert resolve([email, phone, card]) == [Found(Kind.CARD, 0, 12), email]
    assert resolve([Found(Kind.IP, 0, 4), Found(Kind.IP, 4, 8)]) == [Found(Kind.IP, 0, 4), Found(Kind.IP, 4, 8)]


def test_chats_are_redacted_segment_by_segment_and_hashed_anew() -> None:
    segments = (
        Segment("user", "I am anna@example.org"),
        Segment("assistant", "Hello"),
        Segment("user", "Tel. 555-0123"),
    )
    chat = replace(document("mail", "1", ""), kind="chat", segments=segments)
    (kept,) = redact_personal([chat], PersonalDataConfig()).kept
    expected = (Segment("user", "I am <EMAIL>"), Segment("assistant", "Hello"), Segment("user", "Tel. <PHONE>"))
    assert kept == replace(chat, segments=expected, text_sha256=sha256_text(kept.text))
    assert kept.text_sha256 != chat.text_sha256


def test_a_number_that_runs_over_two_segments_is_none() -> None:
    preference = replace(
        document("mail", "1", ""),
        kind="preference",
        segments=(Segment("chosen", "4111 1111"), Segment("rejected", "1111 1111")),
    )
    assert redact_personal([preference], PersonalDataConfig()).kept == [preference]


def test_redactions_are_counted_by_document_and_kind() -> None:
    documents = [
        document("wiki", "1", "a@example.org, b@example.org, 192.168.178.20"),
        document("mail", "1", "c@example.org"),
        document("mail", "2", "nothing here"),
    ]
    outcome = redact_personal(documents, PersonalDataConfig())
    first, second = (document.doc_id for document in documents[:2])
    assert outcome.redactions == {(first, "email"): 2, (first, "ip"): 1, (second, "email"): 1}
    assert outcome.kept[2] is documents[2] and not outcome.rejected


def test_a_kind_can_reject_the_document_whose_excerpt_and_reason_then_show_nothing_of_it() -> None:
    documents = [document("wiki", "1", "a@example.org, 4111 1111 1111 1111"), document("wiki", "2", "b@example.org")]
    outcome = redact_personal(documents, PersonalDataConfig(card="reject"))
    (rejected,) = outcome.rejected
    assert (rejected.uri, rejected.rule, rejected.excerpt) == ("1", "personal_data", "<EMAIL>, <CARD>")
    assert rejected.reason == "has card (1), which the corpus rejects"
    assert rejected.doc_id == documents[0].doc_id
    assert [each.text for each in outcome.kept] == ["<EMAIL>"]
    assert outcome.redactions == {(documents[1].doc_id, "email"): 1}


def test_a_kind_can_be_kept_and_countries_chosen() -> None:
    text = "a@example.org 192.168.178.20; 123-45-6789; 12345678Z"
    assert redacted(text, email="keep") == "a@example.org <IP>; <NATIONAL_ID>; <NATIONAL_ID>"
    assert redacted(text, countries=["ES"]) == "<EMAIL> <IP>; 123-45-6789; <NATIONAL_ID>"


def test_all_countries_together_find_what_each_finds_alone(texts: Sequence[Labelled]) -> None:
    only_ids = {kind.value: "keep" for kind in Kind if kind is not Kind.NATIONAL_ID}
    together = PersonalDataSearch(PersonalDataConfig.model_validate(only_ids))
    countries = PersonalDataConfig().countries
    alone = [
        PersonalDataSearch(PersonalDataConfig.model_validate({**only_ids, "countries": [country]}))
        for country in countries
    ]
    found = Counter[int]()
    for each in texts:
        findings = [search.find(each.text) for search in alone]
        found.update(place for place, some in enumerate(findings) if some)
        assert together.find(each.text) == resolve(chain.from_iterable(findings))
    assert len(found) >= len(countries) - 1, "all but Sweden's stand in the labelled texts"


def test_an_unknown_action_or_country_is_named() -> None:
    for wrong in ({"email": "drop"}, {"countries": ["XX"]}, {"emails": "redact"}):
        with pytest.raises(ValidationError, match=re.escape(next(iter(wrong)))):
            PersonalDataConfig.model_validate(wrong)


def test_names_of_a_list_are_found_between_the_boundaries_of_words(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Anna\nAnna Müller\nO'Neil\n\n")
    text = "Anna Müller, Annabel, anna, Anna and Shaquille O'Neil; Anna Müllers Haus"
    assert (
        redacted(text, names_model=tmp_path)
        == "<NAME>, Annabel, anna, <NAME> and Shaquille <NAME>; <NAME> Müllers Haus"
    )
    before = names_version(tmp_path)
    (tmp_path / "names.txt").write_text("Bernd\n")
    assert redacted("Anna, Bernd", names_model=tmp_path) == "Anna, <NAME>"
    assert names_version(tmp_path) != before


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "holds neither a list nor a model"),
        (b"\n \n", "has no name in it"),
        (b"M\xfcller\n", "is not UTF-8 at byte 1"),
    ],
)
def test_a_folder_without_a_usable_list_of_names_is_a_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    if content is not None:
        (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=sentence) as caught:
        redact_personal([], PersonalDataConfig(names_model=tmp_path))
    message = str(caught.value)
    assert str(tmp_path) in message and "names.txt" in message and "\n" not in message


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "a",
            "A",
            "1",
            "@",
            ":",
            "=",
            " ",
            "-",
            "a@",
            "a@b.",
            ":a",
            "1 ",
            "1-",
            "1. ",
            "1.1.",
            "AB12 ",
            "eyJ.",
            "sk-",
            "sk-a",
        ),
        *(
            "-----BEGIN PRIVATE KEY-----",
            "://a:",
            "geb. ",
            "12, 1980 ",
            "1980-",
            "token=abc1234567890xyzDEF ",
            "tel ",
            "Q~",
        ),
        *("4111 1111 1111 1111 ", " 0171 1234567", "212-555-0147 ", "DE89 ", "\u00e9", "1\u00a0", "(0"),
        *("+1", "+49 ", "1 M", "1. 1. ", "AB12 34 ", "ghp_", "xoxb-", "_", "ABCDEF12", "0612345678 ", "1::", "a=b:"),
    ],
)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    characters = 300_000
    started = time.process_time()
    SEARCH.find(unit * (characters // len(unit)))
    assert time.process_time() - started < 4


def test_prose_is_searched_at_its_speed(texts: Sequence[Labelled]) -> None:
    prose = [re.sub(r"[\d@:=]", "x", each.text) for each in texts]
    started = time.process_time()
    for text in prose:
        SEARCH.find(text)
    megabytes_per_second = sum(len(text.encode()) for text in prose) / 1e6 / (time.process_time() - started)
    assert megabytes_per_second > 3  # 24 on a core that does nothing else


def test_text_that_is_dense_with_items_is_searched_at_its_speed(texts: Sequence[Labelled]) -> None:
    started = time.process_time()
    for each in texts:
        SEARCH.find(each.text)
    megabytes_per_second = sum(len(each.text.encode()) for each in texts) / 1e6 / (time.process_time() - started)
    assert megabytes_per_second > 1  # 6 on a core that does nothing else
