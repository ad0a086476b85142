import random
import re
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from documents_in_memory import document
from planting import measure_recall
from pydantic import ValidationError

from forge_pipelines.corpus.decontamination import Decontamination, EvaluationItems, drop_contaminated
from forge_pipelines.corpus.evaluation_sets import Item, check_evaluation_sets, evaluation_set_hashes, read_items
from forge_pipelines.corpus.evaluation_sets_config import EvaluationSet
from forge_pipelines.corpus.steps import Outcome
from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import Rejection

QUESTION = (
    "A train leaves the old station at seven o'clock, and it travels to the harbour at ninety kilometres an hour: when "
    "does it arrive, if the harbour is two hundred and seventy kilometres away?"
)
PAGE = "The pump house of the harbour stands behind the station, and nobody has opened its door for years. "
VOCABULARY = [f"{a}{b}{c}" for a in "bcdfglmn" for b in "aeiou" for c in ("ck", "ll", "nd", "st", "th")]


def sentence(drawn: random.Random, num_words: int) -> str:
    return " ".join(drawn.choice(VOCABULARY) for _ in range(num_words)).capitalize() + "."


def items(*texts: str, **bounds: int) -> EvaluationItems:
    return EvaluationItems(
        [Item("exam", f"exam.jsonl:{number}", text) for number, text in enumerate(texts, 1)], **bounds
    )


def drop(text: str, evaluation_items: EvaluationItems) -> Outcome:
    return drop_contaminated([document("s", "a.md", text)], evaluation_items)


def test_a_document_that_holds_an_item_is_rejected_with_both_excerpts() -> None:
    planted = QUESTION.upper().replace("STATION AT", "STATION\n at")
    (rejection,) = drop(f"{PAGE}{planted} {PAGE}", items(QUESTION)).rejected
    assert rejection.rule == "contaminated"
    assert rejection.reason == (
        "«A TRAIN LEAVES THE OLD STATION at SEVEN O'CLOCK, AND IT TRAVELS TO» stands in evaluation set exam, item "
        "exam.jsonl:1, as «A train leaves the old station at seven o'clock, and it travels to»"
    )


def test_thirteen_words_are_enough_and_twelve_are_not() -> None:
    words = QUESTION.split()
    for number in range(len(words) - 13):
        assert drop(f"{PAGE}{' '.join(words[number : number + 13])} {PAGE}", items(QUESTION)).rejected
        assert drop(f"{PAGE}{' '.join(words[number : number + 12])} Stop. {PAGE}", items(QUESTION)).kept
    assert drop(f"{PAGE}{' '.join(words[:10])} {PAGE}", items(QUESTION, words=10)).rejected


def test_case_punctuation_and_blanks_do_not_matter_in_any_script() -> None:
    item = "Die Straße, die Größe und der Fluß: «so weit» reicht's, bis zur alten Brücke am Ende."
    changed = "DIE STRASSE die größe -- UND der fluss, so   weit\nreichts bis zur 'alten' brücke am ende"
    assert drop(changed, items(item)).rejected
    chinese = "阀门在七圈之后关闭，然后师傅再次检查密封是否紧密。"
    (rejection,) = drop(f"他说：阀门在七圈之后关闭然后师傅再次检查。{PAGE}", items(chinese)).rejected
    assert "«阀门在七圈之后关闭然后师傅»" in rejection.reason
    hindi = "वाल्व सात चक्कर के बाद बंद हो जाता है और फिर मिस्त्री सील की जाँच करता है"
    assert drop(f"{PAGE} {hindi} {PAGE}", items(hindi)).rejected


def test_shorter_items_match_whole_and_the_shortest_are_not_looked_for() -> None:
    ten = "Which of these metals melts at the lowest temperature today?"
    known = items(ten, "Yes or no?", "", "...")
    assert [item.text for item in known.looked_for] == [ten]
    assert drop(f"{PAGE}{ten.lower()} {PAGE}", known).rejected
    assert drop(f"{PAGE}{ten.replace('today', 'now')} Yes or no? {PAGE}", known).kept
    assert drop(f"{PAGE}yes, or no {PAGE}", items("Yes or no?", min_words=3)).rejected


def test_excerpts_are_short_and_of_the_first_item_that_stands_in_the_document() -> None:
    long = " ".join(f"extraordinarily-long-word-{number}" for number in range(20))
    reason = drop(f"{PAGE}{long} {QUESTION}", items(QUESTION, long)).rejected[0].reason
    excerpts = re.findall("«([^»]*)»", reason)
    assert [len(each) for each in excerpts] == [100, 100] and "exam.jsonl:2" in reason
    assert drop("ŉ " * 3 + QUESTION, items(QUESTION)).rejected[0].reason.startswith("«a train leaves")


def test_words_of_two_documents_make_no_item() -> None:
    first, second = QUESTION[: len(QUESTION) // 4], QUESTION[len(QUESTION) // 4 :]
    documents = [document("s", f"{number}.md", text) for number, text in enumerate([first, second[:60], second[60:90]])]
    assert not drop_contaminated(documents, items(QUESTION)).rejected


def rejected_by_hand(texts: Sequence[str], evaluation_items: EvaluationItems) -> set[int]:
    grams: dict[int, set[tuple[str, ...]]] = {}
    for item in evaluation_items.looked_for:
        words = re.sub(r"[^\w\s]", "", item.text.casefold()).split()
        size = min(13, len(words))
        grams.setdefault(size, set()).update(tuple(words[at : at + size]) for at in range(len(words) - size + 1))
    found = set()
    for number, text in enumerate(texts):
        words = re.sub(r"[^\w\s]", "", text.casefold()).split()
        for size, those in grams.items():
            if any(tuple(words[at : at + size]) in those for at in range(len(words) - size + 1)):
                found.add(number)
    return found


def test_what_is_found_is_what_comparing_word_by_word_finds() -> None:
    drawn = random.Random(0)
    evaluation_items = items(*(sentence(drawn, drawn.randrange(5, 40)) for _ in range(100)))
    texts = []
    for _ in range(400):
        words = drawn.choice(evaluation_items.items).text.split()
        start = drawn.randrange(len(words))
        run = " ".join(words[start : start + drawn.randrange(5, 20)])
        texts.append(f"{sentence(drawn, 30)} {run} {sentence(drawn, 30)}")
    outcome = drop_contaminated(
        [document("s", str(number), text) for number, text in enumerate(texts)], evaluation_items
    )
    found = {int(each.uri) for each in outcome.rejected}
    assert found == rejected_by_hand(texts, evaluation_items)
    assert 50 < len(found) < 350


def test_items_are_found_where_a_long_document_is_cut() -> None:
    for place in range(1_044_000, 1_049_000, 500):
        padding = ("word " * (place // 5))[:place]
        assert drop(f"{padding} {QUESTION} {PAGE}", items(QUESTION)).rejected


@pytest.mark.parametrize(
    "text",
    ["a" * 50_000_000, PAGE * 500_000, "\x00\x01" * 1000, "", "阀门" * 100_000, f"Стоп {QUESTION[:50]} 阀门 \ud800 🙂"],
    ids=["one_character", "prose", "controls", "empty", "chinese", "mixed"],
)
def test_odd_documents_pass_in_bounded_memory(text: str) -> None:
    known = items(QUESTION)
    page = document("s", "a.md", text)
    tracemalloc.start()
    started = time.process_time()
    assert drop_contaminated([page], known).kept == [page]
    seconds, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 30 and peak < 400 << 20


def test_without_items_nothing_is_rejected() -> None:
    assert drop(QUESTION, EvaluationItems([])).kept


def test_recall_is_measured_on_planted_items() -> None:
    drawn = random.Random(3)
    known = items(*(sentence(drawn, drawn.randrange(20, 120)) for _ in range(200)), "Too short.")
    hosts = [document("s", f"{number}.md", sentence(drawn, 300)) for number in range(20)]
    contaminated = document("s", "bad.md", f"{sentence(drawn, 30)} {known.items[0].text}")
    verbatim, recased, edited = measure_recall(known, [*hosts, contaminated], seed=1)
    assert (verbatim.kind, verbatim.planted, verbatim.share) == ("verbatim", 200, 1.0)
    assert (recased.kind, recased.share) == ("re-cased", 1.0)
    assert edited.kind == "10 % edited" and 0.5 < edited.share < 1.0
    assert measure_recall(known, hosts, seed=1)[2].planted == 200


def evaluation_set(path: Path, **fields: Any) -> EvaluationSet:
    return EvaluationSet.model_validate({"name": "exam", "path": str(path), **fields})


def read(path: Path, **fields: Any) -> list[tuple[str, str]]:
    return [(item.place, item.text) for item in read_items([evaluation_set(path, **fields)])]


def test_sets_are_jsonl_files_text_files_or_folders_of_these(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"q": "one"}\n\n{"q": ["two", "three"], "id": 7}\n')
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.txt").write_text("\nfirst\nparagraph\n \nsecond\n")
    (tmp_path / ".hidden").write_text("x")
    records = [("a.jsonl:1", "one"), ("a.jsonl:3", "two\nthree")]
    assert read(tmp_path / "a.jsonl", column="q") == records
    paragraphs = [("2", "first\nparagraph\n"), ("5", "second\n")]
    assert read(tmp_path / "b" / "c.txt") == [(f"c.txt:{line}", text) for line, text in paragraphs]
    assert read(tmp_path, column="q") == [*records, *((f"b/c.txt:{line}", text) for line, text in paragraphs)]


def test_another_item_or_column_is_another_set(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n')
    before = evaluation_set_hashes([evaluation_set(path)])
    assert evaluation_set_hashes([evaluation_set(path)]) == before
    assert evaluation_set_hashes([evaluation_set(path, column="q")]) != before
    path.write_text('{"text": "two"}\n')
    assert evaluation_set_hashes([evaluation_set(path)]) != before


def test_a_missing_set_is_one_sentence_before_and_at_work(tmp_path: Path) -> None:
    missing = evaluation_set(tmp_path / "exam.jsonl")
    sentence = rf"^evaluation set exam: there is no file at {tmp_path}/exam\.jsonl; put it there, or mend `path`$"
    for ask in (check_evaluation_sets, evaluation_set_hashes, lambda sets: list(read_items(sets))):
        with pytest.raises(ConfigError, match=sentence):
            ask([missing])
    with pytest.raises(ConfigError, match="there is no file at"):
        check_evaluation_sets([evaluation_set(tmp_path)])


@pytest.mark.parametrize(
    ("name", "content", "error", "sentence"),
    [
        ("a.csv", b"q\n", ConfigError, r"a\.csv is no file of items; these end in \.jsonl, \.md, \.ndjson, \.txt"),
        ("a.jsonl", b"{}\n", DataError, r"a\.jsonl, line 1 has no field text but none; mend `column`"),
        ("a.jsonl", b'{"q": "x"}', DataError, r"line 1 has no field text but only q; mend `column`"),
        ("a.jsonl", b"[1]\n", DataError, r"line 1 has no field text but none"),
        ("a.jsonl", b'\n{"text": 7}\n', DataError, r"line 2, field text is no text; name another `column`"),
        ("a.jsonl", b"nonsense\n", DataError, r"line 1 is no JSON \(Expecting value"),
        ("a.txt", b"caf\xe9\n", DataError, r"a\.txt is not UTF-8 \(.*\); convert it"),
        ("a.txt", b"\n \n", DataError, r"has no item; write some, or leave out the set"),
    ],
)
def test_a_file_that_is_no_set_is_one_sentence(
    tmp_path: Path, name: str, content: bytes, error: type[Exception], sentence: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=sentence) as caught:
        read(tmp_path / name)
    assert str(caught.value).startswith("evaluation set exam") and "\n" not in str(caught.value)


def test_a_set_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    each = {"name": "exam", "path": "a.jsonl"}
    with pytest.raises(ValidationError, match="an evaluation set is named twice in exam, exam"):
        Decontamination.model_validate({"evaluation_sets": [each, each]})


def test_the_rejection_keeps_the_document_s_identity() -> None:
    (rejection,) = drop(QUESTION, items(QUESTION)).rejected
    assert isinstance(rejection, Rejection) and rejection.uri == "a.md"
