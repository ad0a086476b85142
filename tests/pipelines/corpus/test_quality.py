import random
import time
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from documents_in_memory import document

from forge_pipelines.corpus.gopher import STOP_WORDS
from forge_pipelines.corpus.normalize import normalize
from forge_pipelines.corpus.quality import QualityRules, judge_quality
from forge_pipelines.manifest import Document, Rejection, Segment, sha256_text

NONE = {"gopher": None, "repetition": None, "c4": None, "fineweb": None}


def prose(num_sentences: int = 60, seed: int = 0) -> str:
    """Sentences of drawn words, two a line: as long and as varied as the rules ask for."""
    drawn = random.Random(seed)
    words = [f"{a}{b}{c}" for a in ("val", "ste", "pres", "mot") for b in ("ve", "am", "su") for c in ("s", "re", "or")]
    drawings = [[f"{drawn.choice(words)}{drawn.randrange(9)}" for _ in range(9)] for _ in range(num_sentences)]
    sentences = [f"{' '.join(each)} and the rest." for each in drawings]
    return "\n".join(" ".join(sentences[place : place + 2]) for place in range(0, num_sentences, 2))


def text(content: str, language: str | None = "en", uri: str = "a.md") -> Document:
    return replace(document("s", uri, content), language=language)


def judge(content: str, language: str | None = "en", **rules: Any) -> Rejection | Document:
    config = QualityRules.model_validate(NONE | rules)
    outcome = judge_quality([text(content, language)], config)
    (verdict,) = (*outcome.kept, *outcome.rejected)
    return verdict


def reason(content: str, language: str | None = "en", **rules: Any) -> str:
    verdict = judge(content, language, **rules)
    return f"{verdict.rule}: {verdict.reason}" if isinstance(verdict, Rejection) else ""


def test_prose_passes_all_the_published_rules_unchanged() -> None:
    page = text(prose())
    assert judge_quality([page], QualityRules()).kept == [page]


WORDS = "the valve and pump "


@pytest.mark.parametrize(
    ("rule", "content", "expected"),
    [
        ("min_words", "the valve and " * 16, "gopher_words: 48 words, less than 50"),
        ("max_words", "the valve and " * 40_000, "gopher_words: 120000 words, more than 100000"),
        (
            "min_mean_word_length",
            "to of a " * 30,
            "gopher_word_length: a mean word length of 1.667 characters, less than 3",
        ),
        (
            "max_mean_word_length",
            "the and valvepumpmotorsteampressuregauge " * 60,
            "gopher_word_length: a mean word length of 12.67 characters, more than 10",
        ),
        ("max_hashes_per_word", "the valve and #pump " * 30, "gopher_hashes: 0.25 # a word, more than 0.1"),
        (
            "max_ellipses_per_word",
            "the valve and pump... and the wheel\n" * 30,
            "gopher_ellipses: 0.1429 ellipses a word, more than 0.1",
        ),
        (
            "max_bullet_lines",
            "- the valve and pump\n" * 19 + "the end",
            "gopher_bullets: a share of 0.95 of the lines starts with a bullet, more than 0.9",
        ),
        (
            "max_ellipsis_lines",
            (WORDS * 3 + "\n") * 6 + (WORDS * 3 + "more…\n") * 2 + (WORDS * 3 + "more...\n") * 2,
            "gopher_ellipsis_lines: a share of 0.4 of the lines ends with an ellipsis, more than 0.3",
        ),
        (
            "min_alphabetic_words",
            "the and 123 456 7-8 " * 20,
            "gopher_alphabetic_words: a share of 0.4 of the words has a letter, less than 0.8",
        ),
        (
            "min_stop_words",
            "The valve closes, the pump starts " * 20,
            "gopher_stop_words: 1 of the language's stop words, less than 2",
        ),
    ],
)
def test_each_gopher_rule_names_what_it_measured_and_can_be_switched_off(
    rule: str, content: str, expected: str
) -> None:
    assert reason(content, gopher={}) == expected
    assert reason(content, gopher={rule: None}) == ""


def test_stop_words_are_asked_for_in_languages_with_a_list_alone() -> None:
    russian = "Клапан закрывается после семи оборотов и потом мастер снова проверяет " * 6
    assert reason(russian, "ru", gopher={}) == reason(russian, None, gopher={}) == ""
    assert set(STOP_WORDS) >= {"en", "de", "fr", "es", "it"}
    for language, words in STOP_WORDS.items():
        sentence = f"{words[0]} Ventil schließt {words[1]} Pumpe startet "
        assert reason(sentence * 10, language, gopher={}) == ""
        assert "stop_words" in reason("Ventil schließt Pumpe startet " * 15, language, gopher={})


@pytest.mark.parametrize(
    ("rule", "content", "expected"),
    [
        ("lines", "one\ntwo\nthree\nfour\nfive\none\ntwo\nthree", "a share of 0.375 of the lines occurs again"),
        ("paragraphs", "one\n\ntwo\n\none\n\nthree\n\none\n\nfour", "a share of 0.3333 of the paragraphs occurs again"),
        (
            "line_characters",
            "abcdefghij\nabcdefghij\n" + "\n".join("klmnopqrst"[place:] for place in range(5)),
            "a share of 0.1667 of the characters is in lines that occur again",
        ),
        (
            "paragraph_characters",
            "abcdefghij\n\nabcdefghij\n\n" + "\n\n".join("klmnopqrst"[place:] for place in range(5)),
            "a share of 0.1667 of the characters is in paragraphs that occur again",
        ),
        ("top_2_gram", "aa bb 1 aa bb 2 aa bb 3", "a share of 0.8 of the characters is in its commonest 2 words"),
        ("top_3_gram", "a b c 1 a b c 2 a b c 3", "a share of 0.75 of the characters is in its commonest 3 words"),
        ("top_4_gram", "a b c d 1 a b c d 2", "a share of 0.8 of the characters is in its commonest 4 words"),
        ("duplicate_5_grams", "a b c d e 1 a b c d e", "a share of 0.4545 of the characters is in runs of 5 words"),
        (
            "duplicate_10_grams",
            "a b c d e f g h i j 1 a b c d e f g h i j",
            "a share of 0.4762 of the characters is in runs of 10 words that occur again",
        ),
    ],
)
def test_each_rule_of_repetition_measures_what_its_name_says(rule: str, content: str, expected: str) -> None:
    fields = ["lines", "paragraphs", "line_characters", "paragraph_characters"]
    fields += [f"top_{size}_gram" for size in (2, 3, 4)] + [f"duplicate_{size}_grams" for size in range(5, 11)]
    alone = dict.fromkeys(fields) | {rule: 0.1}
    assert expected in reason(content, repetition=alone)
    assert reason(content, repetition=dict.fromkeys(fields)) == ""


def test_characters_under_several_repeated_runs_count_once_and_runs_never_span_documents() -> None:
    run = "a b c d e f g"
    alone = dict.fromkeys([f"top_{size}_gram" for size in (2, 3, 4)])
    assert "a share of 0.4667 " in reason(f"{run} 1 {run}", repetition=alone)
    config = QualityRules.model_validate(NONE | {"repetition": {}})
    assert len(judge_quality([text(run, uri=f"{number}.md") for number in range(9)], config).kept) == 9


def test_the_shares_of_repeated_runs_are_those_that_counting_one_by_one_gives() -> None:
    drawn = random.Random(1)
    for size in (5, 7, 10):
        words = [drawn.choice("ab") for _ in range(200)]
        seen: set[tuple[str, ...]] = set()
        covered: set[int] = set()
        for place in range(len(words) - size + 1):
            run = tuple(words[place : place + size])
            covered |= set(range(place, place + size)) if run in seen else set()
            seen.add(run)
        others = {f"top_{each}_gram": None for each in (2, 3, 4)}
        others |= {f"duplicate_{each}_grams": None for each in range(5, 11)}
        said = reason(" ".join(words), repetition=others | {f"duplicate_{size}_grams": 0})
        assert f"a share of {len(covered) / len(words):.4g} " in said


LINE = "The valve closes after seven turns of the wheel. "


@pytest.mark.parametrize(
    ("rule", "content", "expected"),
    [
        ("min_sentences", LINE * 4, "c4_sentences: 4 sentences in lines worth keeping, less than 5"),
        ("lorem_ipsum", LINE * 5 + "Lorem ipsum dolor.", "c4_lorem_ipsum: 1 times «lorem ipsum», more than 0"),
        ("curly_brackets", LINE * 5 + "if (x) { y(); }", "c4_curly_brackets: 1 times «{», more than 0"),
    ],
)
def test_each_c4_rule_rejects_and_can_be_switched_off(rule: str, content: str, expected: str) -> None:
    assert reason(content, c4={}) == expected
    assert reason(content, c4={rule: None if rule == "min_sentences" else False}) == ""


@pytest.mark.parametrize(
    ("rule", "off", "line"),
    [
        ("min_words_per_line", None, "Read more"),
        ("max_word_length", None, f"See the key {'x' * 1001} here."),
        ("javascript_lines", False, "Please enable JavaScript to read this page."),
        ("policy_lines", False, "This site uses cookies to serve you better."),
    ],
)
def test_each_c4_rule_of_lines_leaves_out_its_lines(rule: str, off: Any, line: str) -> None:
    body = "\n".join([LINE.strip()] * 6)
    verdict = judge(f"{body}\n\n{line}\n\n{body}", c4={})
    assert isinstance(verdict, Document)
    assert verdict.text == f"{body}\n\n\n{body}" and verdict.text_sha256 == sha256_text(verdict.text)
    kept = judge(f"{body}\n\n{line}\n\n{body}", c4={rule: off})
    assert isinstance(kept, Document) and line in kept.text


def test_terminal_punctuation_is_asked_for_only_where_the_yaml_says_so() -> None:
    body = "\n".join([LINE.strip()] * 6)
    for asked, expected in ((False, f"How valves close here\n{body}"), (True, body)):
        verdict = judge(f"How valves close here\n{body}", c4={"terminal_punctuation": asked})
        assert isinstance(verdict, Document) and verdict.text == expected


def test_citation_marks_go_and_links_stay() -> None:
    verdict = judge(LINE * 5 + "Steel [12] rusts [citation needed], see [1](http://a.example/).", c4={})
    assert isinstance(verdict, Document)
    assert verdict.text.endswith("Steel  rusts , see [1](http://a.example/).")


def test_a_page_without_a_line_worth_keeping_is_rejected() -> None:
    assert "c4_lines: 0 lines worth keeping" in reason("Home\nAbout\nLogin", c4={"min_sentences": None})


def test_sentences_are_counted_in_scripts_with_other_marks() -> None:
    assert reason("阀门在七圈后关闭。然后检查密封！是否紧密？再次检查。完成。", c4={}) == ""
    assert "4 sentences" in reason("वाल्व बंद है। पंप चालू है। सब ठीक है। काम पूरा हुआ।", c4={})
    assert "2 sentences" in reason('He said "Close it." Then he left', c4={})


@pytest.mark.parametrize(
    ("rule", "content", "expected"),
    [
        (
            "min_punctuated_lines",
            "\n".join([f"the valve number {number} of the pump house" for number in range(9)] + ["It is."]),
            "fineweb_punctuation: a share of 0.1 of the lines ends with a punctuation mark, less than 0.12",
        ),
        (
            "max_repeated_line_characters",
            "\n\n".join(
                [*(f"Valve {number} of the pump house closes." for number in range(4)), "The same line of text."] * 2
            ),
            "fineweb_repeated_lines: a share of 0.5 of the characters is in lines that occur again, more than 0.1",
        ),
        (
            "max_short_lines",
            "Home.\nAbout.\nThe only line here that is long enough.\nLogin.",
            "fineweb_short_lines: a share of 0.75 of the lines has fewer than 30 characters, more than 0.67",
        ),
    ],
)
def test_each_fineweb_rule_names_what_it_measured_and_can_be_switched_off(
    rule: str, content: str, expected: str
) -> None:
    assert reason(content, fineweb={}) == expected
    assert reason(content, fineweb={rule: None}) == ""


def test_code_tables_chats_and_preferences_pass_as_they_are() -> None:
    bad = "x { }\nx { }"
    chat = replace(text(bad), kind="chat", segments=(Segment("user", "Hi"), Segment("assistant", "Hi")))
    preference = replace(text(bad), kind="preference")
    documents = [text(bad, uri="a.py"), text(bad, uri="a.tsv"), chat, preference]
    outcome = judge_quality(documents, QualityRules())
    assert outcome.kept == documents and not outcome.rejected


def test_text_without_spaces_between_words_is_not_held_to_rules_over_words() -> None:
    chinese = "\n".join(
        f"第{number}号阀门在七圈之后关闭，然后师傅再次检查密封是否紧密并且记录在册。" for number in range(9)
    )
    assert reason(chinese, "zh", gopher={}, repetition={}, c4={}, fineweb={}) == ""
    assert "gopher_words" in reason(f"{LINE}阀门关闭", gopher={})


def test_a_document_is_judged_the_same_alone_and_among_others() -> None:
    drawn = random.Random(2)
    contents = [prose(60, seed) for seed in range(5)]
    contents += [LINE * count for count in (1, 4, 30)]
    contents += ["", "\n\n\n", "a", "\u0000\u0001\u0002", "x" * 500_000, "阀门" * 300, "a\n" * 5_000, "the # " * 90]
    documents = [text(content, uri=f"{number}.md") for number, content in enumerate(contents * 3)]
    drawn.shuffle(documents)
    alone = [judge_quality([each], QualityRules()) for each in documents]
    together = judge_quality(documents, QualityRules())
    assert together.kept == [kept for each in alone for kept in each.kept]
    assert together.rejected == [rejected for each in alone for rejected in each.rejected]
    assert together.kept and together.rejected


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("a" * 50_000_000, "gopher_words"),
        (" " * 50_000_000, "gopher_words"),
        ("\n" * 50_000_000, "gopher_words"),
        ("the valve closes " * 3_000_000, "gopher_words"),
        ("\x00\x01\x02" * 1_000_000, "gopher_words"),
    ],
    ids=["one_character", "blanks", "blank_lines", "prose", "controls"],
)
def test_a_document_of_50_mb_is_judged_in_seconds_and_bounded_memory(content: str, rule: str) -> None:
    page = text(content)
    tracemalloc.start()
    started = time.process_time()
    (rejection,) = judge_quality([page], QualityRules()).rejected
    seconds, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rejection.rule == rule
    assert seconds < 10 and peak < 400 << 20


def test_mixed_scripts_and_lone_surrogates_are_judged() -> None:
    page = text(f"{prose()}\nСтоп клапан 阀门关闭 ஆணி \ud800 🙂 שסתום")
    assert judge_quality(normalize([page]).kept, QualityRules()).kept
