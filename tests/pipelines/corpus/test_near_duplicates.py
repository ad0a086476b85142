import random
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from documents_in_memory import document
from near_copies import edited, prose, shingle_set, true_jaccard
from pydantic import ValidationError

from forge_pipelines.columns import table_of_documents
from forge_pipelines.corpus.config import Split
from forge_pipelines.corpus.duplicates import drop_duplicates
from forge_pipelines.corpus.near_duplicates import NearDuplicates
from forge_pipelines.corpus.near_duplicates_config import NearDuplicatesConfig
from forge_pipelines.corpus.shingles import PIECE_CHARACTERS, shingles
from forge_pipelines.corpus.signatures import signatures
from forge_pipelines.corpus.sketches import sketched
from forge_pipelines.corpus.split import part_of
from forge_pipelines.manifest import Document, Rejection, Segment, sha256_text

HALF = Split(heldout_fraction=0.5)
PREFERENCE = {"wiki": 0, "mail": 1}


def resolve(
    folder: Path,
    documents: Sequence[Document],
    copies: Sequence[Document] = (),
    split: Split = HALF,
    batch: int = 100,
    **fields: Any,
) -> dict[str, str | Rejection]:
    """What becomes of the document that stands for each text, by its uri; the folder then holds the clusters."""
    documents = [*documents, *copies]
    with NearDuplicates(NearDuplicatesConfig.model_validate(fields), split, PREFERENCE, folder) as near:
        for start in range(0, len(documents), batch):
            added = documents[start : start + batch]
            near.add(table_of_documents(added), [*sketched(each.text for each in added)])
        resolution = near.resolve()
        resolution.write_clusters(folder / "clusters.parquet")
        kept = sorted(drop_duplicates(documents, PREFERENCE).kept, key=lambda each: each.text_sha256)
        verdicts = {each.uri: resolution.verdict(row, each) for row, each in enumerate(kept)}
        return {each.uri: verdicts[each.uri] for each in documents if each.uri in verdicts}


def dated(number: int, text: str, day: int | None = None, source: str = "wiki") -> Document:
    at = None if day is None else f"2026-01-{day:02}T00:00:00+00:00"
    return replace(document(source, f"{number:05}.md", text), retrieved_at=at)


def rule(verdict: str | Rejection) -> str:
    return verdict.rule if isinstance(verdict, Rejection) else "kept"


def bridged(rng: random.Random) -> tuple[str, str, str]:
    """A text that is drawn into train, one that is held out, and one that is near to both, which are not near."""
    while True:
        first, second, shared = (prose(rng, 200) for _ in range(3))
        trained, heldout = f"{shared} {first}", f"{shared} {second}"
        if (part_of(sha256_text(trained), HALF), part_of(sha256_text(heldout), HALF)) == ("train", "heldout"):
            return trained, heldout, f"{shared} {first[: len(first) // 2]} {second[: len(second) // 2]}"


def rows(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "clusters.parquet").to_pylist()  # type: ignore[no-any-return]


def sets_of(texts: Sequence[str]) -> Iterator[set[int]]:
    for made in shingles(texts):
        for start, end in zip(made.offsets[:-1], made.offsets[1:], strict=True):
            yield set(made.hashes[start:end].tolist())


def likeness(one: str, other: str) -> float:
    first, second = sets_of([one, other])
    return len(first & second) / len(first | second)


@pytest.fixture
def rng() -> random.Random:
    return random.Random(7)


@pytest.fixture
def planted(rng: random.Random) -> list[tuple[Document, Document]]:
    """Pages and a later near-copy of each, at similarities from 0.45 to 0.98."""
    pairs = []
    for number in range(600):
        page = prose(rng, rng.randrange(100, 500))
        copy = edited(rng, page, rng.uniform(0.45, 0.98))
        pairs.append((dated(number, page, 1), dated(number + 10_000, copy, 2)))
    return pairs


def test_shingles_are_what_plain_python_finds(rng: random.Random) -> None:
    texts = [
        "",
        "...",
        "One",
        "two TWO two",
        "a b c d",
        "a b c d e",
        "a_b-c d\te,f\n\ng",
        *(prose(rng, 300) for _ in "12"),
    ]
    assert [len(found) for found in sets_of(texts)] == [len(shingle_set(text)) for text in texts]
    page = texts[-1]
    for alike in (0.5, 0.8, 0.9):
        copy = edited(rng, page, alike)
        assert likeness(page, copy) == pytest.approx(true_jaccard(page, copy))


def test_case_punctuation_and_line_breaks_are_no_difference() -> None:
    assert likeness("Close the valve, then open it again.", "close the VALVE\nthen open it — again") == 1
    assert likeness("Straße und Ärger machen viel Verdruss", "STRASSE UND ÄRGER MACHEN VIEL VERDRUSS") == 1


@pytest.mark.parametrize(
    "text", ["阀门在七圈之后关闭并且保持关闭状态", "バルブは七回転の後に閉じます", "วาล์วจะปิดหลังจากหมุนเจ็ดรอบ"]
)
def test_text_without_spaces_is_compared_by_its_characters(text: str) -> None:
    (found,) = sets_of([text])
    assert len(found) == len(text) - 4
    assert 0.3 < likeness(text, text[:8] + "三" + text[9:]) < 1


def test_a_text_over_the_piece_size_is_hashed_the_same_wherever_it_stands(rng: random.Random) -> None:
    long = " ".join(prose(rng, 1000) for _ in range(190))
    assert len(long) > PIECE_CHARACTERS
    alone = list(sets_of([long]))
    among = list(sets_of(["a b c d e f", long, "x" * 10]))
    assert alone[0] == among[1] and len(among[0]) == 2 and len(among[2]) == 1
    assert abs(len(alone[0]) - len(shingle_set(long))) <= 5  # the word across the cut


def test_signatures_agree_as_often_as_texts_are_alike(rng: random.Random) -> None:
    pages = [prose(rng, 300) for _ in range(200)]
    copies = [edited(rng, page, 0.8) for page in pages]
    signed = signatures([*pages, *copies])
    assert signed.shape == (400, 128) and signed.dtype == np.uint32
    agreeing = float((signed[:200] == signed[200:]).mean())
    assert agreeing == pytest.approx(
        np.mean([true_jaccard(*pair) for pair in zip(pages, copies, strict=True)]), abs=0.01
    )
    assert (signatures(["..."]) == np.iinfo(np.uint32).max).all() and signatures([]).shape == (0, 128)


def test_planted_copies_are_found_and_nothing_else_is(tmp_path: Path, planted: list[tuple[Document, Document]]) -> None:
    verdicts = resolve(tmp_path, [each for pair in planted for each in pair])
    true = {copy.uri: true_jaccard(page.text, copy.text) for page, copy in planted}
    copies = {uri for uri, alike in true.items() if alike >= 0.8}
    found = {uri for uri, verdict in verdicts.items() if rule(verdict) == "near_duplicate"}
    assert len(copies) > 150 and len(true) - len(copies) > 150
    assert found == copies
    for page, copy in planted:
        verdict = verdicts[copy.uri]
        if isinstance(verdict, Rejection):
            alike = f"Jaccard similarity {true[copy.uri]:.2f}"
            assert verdict.reason == f"near-copy of wiki: {page.uri} ({page.doc_id[:12]}, {alike})"


def test_no_held_out_document_has_a_near_copy_in_train(
    tmp_path: Path, planted: list[tuple[Document, Document]]
) -> None:
    verdicts = resolve(tmp_path, [each for pair in planted for each in pair])
    near = [(page, copy) for page, copy in planted if 0.5 <= true_jaccard(page.text, copy.text) < 0.8]
    assert len(near) > 200
    assert [pair for pair in near if verdicts[pair[0].uri] != verdicts[pair[1].uri]] == []
    assert 0.4 < sum(verdicts[page.uri] == "heldout" for page, _ in near) / len(near) < 0.6
    alone = resolve(tmp_path, [each for pair in planted for each in pair], split_similarity=None)
    assert sum(alone[page.uri] != alone[copy.uri] for page, copy in near) > 50


def test_the_order_of_reading_and_the_batches_change_nothing(
    tmp_path: Path, rng: random.Random, planted: list[tuple[Document, Document]]
) -> None:
    documents = [each for pair in planted for each in pair]
    first, members = resolve(tmp_path, documents), (tmp_path / "clusters.parquet").read_bytes()
    for batch in (7, 5000):
        rng.shuffle(documents)
        assert resolve(tmp_path, documents, batch=batch) == first
        assert (tmp_path / "clusters.parquet").read_bytes() == members


def test_documents_that_are_added_later_move_none_that_was_there(
    tmp_path: Path, rng: random.Random, planted: list[tuple[Document, Document]]
) -> None:
    old = [each for pair in planted[:200] for each in pair]
    new = [dated(30_000 + row, edited(rng, each.text, rng.uniform(0.4, 0.95)), 3) for row, each in enumerate(old)]
    bridges = [bridged(rng) for _ in range(20)]
    old += [dated(40_000 + row, text, 1) for row, text in enumerate(text for each in bridges for text in each[:2])]
    new += [dated(50_000 + row, each[2], 3) for row, each in enumerate(bridges)]
    before = resolve(tmp_path, old)
    after = resolve(tmp_path, [*new, *old])
    assert sum(rule(verdict) == "near_both_parts" for verdict in after.values()) >= 20
    assert {uri: after[uri] for uri in before} == before


def test_a_document_near_to_either_part_is_rejected_and_names_both(tmp_path: Path, rng: random.Random) -> None:
    trained, heldout, bridge = bridged(rng)
    documents = [dated(1, trained, 1), dated(2, heldout, 1), dated(3, bridge, 2)]
    verdicts = resolve(tmp_path, documents)
    assert [rule(verdict) for verdict in verdicts.values()] == ["kept", "kept", "near_both_parts"]
    assert (verdicts["00001.md"], verdicts["00002.md"]) == ("train", "heldout")
    names = [
        f"wiki: {each.uri} ({each.doc_id[:12]}, Jaccard similarity {true_jaccard(each.text, bridge):.2f}) in {part}"
        for each, part in zip(documents, ("train", "heldout"), strict=False)
    ]
    verdict = verdicts["00003.md"]
    assert isinstance(verdict, Rejection)
    assert verdict.reason == f"near to {names[0]} and {names[1]}, and each part must have nothing near in the other"
    assert len(set(resolve(tmp_path, documents[:1] + documents[2:]).values())) == 1


@pytest.mark.parametrize(
    ("keep", "survivor"), [("oldest", "00002.md"), ("longest", "00003.md"), ("preferred_source", "00001.md")]
)
def test_the_survivor_is_the_one_that_the_rule_names(
    tmp_path: Path, rng: random.Random, keep: str, survivor: str
) -> None:
    page = prose(rng, 200)
    texts = [edited(rng, page, 0.97) for _ in range(4)]
    documents = [
        dated(0, texts[0], None, "mail"),
        dated(1, texts[1], 9, "wiki"),
        dated(2, texts[2], 2, "mail"),
        dated(3, texts[3] + " and a longer end", 5, "mail"),
    ]
    verdicts = resolve(tmp_path, documents, keep=keep)
    assert [uri for uri, verdict in verdicts.items() if rule(verdict) == "kept"] == [survivor]


def test_of_documents_without_a_date_the_preferred_source_then_the_first_address_is_kept(
    tmp_path: Path, rng: random.Random
) -> None:
    page = prose(rng, 200)
    texts = [edited(rng, page, 0.97) for _ in range(3)]
    documents = [dated(0, texts[0], source="mail"), dated(2, texts[1]), dated(1, texts[2])]
    verdicts = resolve(tmp_path, documents)
    assert [uri for uri, verdict in verdicts.items() if rule(verdict) == "kept"] == ["00001.md"]


def test_a_text_is_as_old_as_its_oldest_exact_copy(tmp_path: Path, rng: random.Random) -> None:
    page = prose(rng, 200)
    one, other = dated(1, page, 5), dated(2, edited(rng, page, 0.97), 3)
    exact = dated(3, page, 2, "mail")
    assert rule(resolve(tmp_path, [one, other])[one.uri]) == "near_duplicate"
    assert rule(resolve(tmp_path, [one, other], [exact])[other.uri]) == "near_duplicate"


def test_a_question_about_any_member_finds_the_survivor(tmp_path: Path, rng: random.Random) -> None:
    page = prose(rng, 300)
    survivor = dated(0, page, 1)
    near = [dated(number, edited(rng, page, 0.9), 2) for number in (1, 2, 3)]
    exact = [dated(10, page, 3, "mail"), dated(11, near[0].text, 3, "mail")]
    lone, lone_copy = dated(20, prose(rng, 50)), dated(21, prose(rng, 50))
    stranger = dated(22, "a text of none of these")
    resolve(tmp_path, [survivor, *near, lone, lone_copy], [*exact, replace(lone, doc_id="f" * 64), stranger])
    found = {row["doc_id"]: row for row in rows(tmp_path)}
    members = [survivor, *near, *exact]
    assert found.keys() == {*(each.doc_id for each in members), lone.doc_id, "f" * 64}
    cluster = min(each.text_sha256 for each in members)
    for each in members:
        row = found[each.doc_id]
        assert (row["survivor"], row["cluster"]) == (survivor.doc_id, cluster)
        assert (row["text_sha256"], row["jaccard"]) == (
            each.text_sha256,
            pytest.approx(true_jaccard(page, each.text)),
        )
    assert found["f" * 64]["survivor"] == lone.doc_id and found["f" * 64]["cluster"] == lone.text_sha256


def test_no_chain_of_small_steps_ties_texts_together_that_are_not_alike(tmp_path: Path, rng: random.Random) -> None:
    chain = [prose(rng, 300)]
    for _ in range(20):
        chain.append(edited(rng, chain[-1], 0.85))
    documents = [dated(number, text, number + 1) for number, text in enumerate(chain)]
    verdicts = resolve(tmp_path, documents, split_similarity=None)
    by_id = {each.doc_id: each.text for each in documents}
    assert sum(rule(verdict) == "kept" for verdict in verdicts.values()) > 5
    for row in rows(tmp_path):
        assert true_jaccard(by_id[row["doc_id"]], by_id[row["survivor"]]) >= 0.8


def test_ten_thousand_near_copies_of_one_letter_take_linear_time(tmp_path: Path, rng: random.Random) -> None:
    letter = prose(rng, 100)
    documents = [dated(number, f"{letter} {number}", 1) for number in range(10_000)]
    started = time.process_time()
    verdicts = resolve(tmp_path, documents)
    assert time.process_time() - started < 30
    assert sum(rule(verdict) == "kept" for verdict in verdicts.values()) == 1


def test_thousands_of_letters_that_are_alike_but_no_copies_take_linear_time(tmp_path: Path, rng: random.Random) -> None:
    letter = prose(rng, 90)
    documents = [dated(number, f"{letter} {prose(rng, 30)}", 1) for number in range(4000)]
    copies = [dated(9000 + number, edited(rng, documents[number].text, 0.9), 2) for number in range(0, 4000, 40)]
    started = time.process_time()
    verdicts = resolve(tmp_path, [*documents, *copies])
    assert time.process_time() - started < 30
    kept = {str(verdict) for verdict in verdicts.values() if rule(verdict) == "kept"}
    assert len(kept) == 1, "one part for all, because each is near to the first"
    assert sum(rule(verdicts[each.uri]) == "kept" for each in documents) == 4000
    missed = [each for each in copies if rule(verdicts[each.uri]) == "kept"
              and true_jaccard(each.text, documents[int(each.uri[:5]) - 9000].text) >= 0.8]  # fmt: skip
    assert len(missed) <= 0.05 * len(copies)


def test_a_half_translated_copy_is_no_copy_and_is_not_called_near(tmp_path: Path, rng: random.Random) -> None:
    page, translation = prose(rng, 400), prose(rng, 200)
    half = " ".join([*page.split(" ")[:200], translation])
    assert true_jaccard(page, half) < 0.5
    verdicts = resolve(tmp_path, [dated(1, page, 1), dated(2, half, 2)])
    assert {rule(verdict) for verdict in verdicts.values()} == {"kept"} and not rows(tmp_path)


def test_texts_without_words_or_of_one_character_are_no_copies_of_each_other(tmp_path: Path) -> None:
    texts = ["", "...", "!!!", "a" * 3_000_000, "b" * 3_000_000, "a" * 100, "—" * 50, "a b"]
    verdicts = resolve(tmp_path, [dated(number, text) for number, text in enumerate(texts)])
    assert {rule(verdict) for verdict in verdicts.values()} == {"kept"}
    assert [each.shingles for each in sketched(["\ud800", "", "—"])] == [b""] * 3


def test_a_chat_is_compared_by_what_is_said_in_it(tmp_path: Path, rng: random.Random) -> None:
    said = [prose(rng, 60) for _ in range(4)]

    def chat(number: int, day: int, texts: list[str]) -> Document:
        segments = tuple(Segment(role, text) for role, text in zip(["user", "assistant"] * 2, texts, strict=True))
        whole = "\n\n".join(texts)
        return replace(dated(number, whole, day), kind="chat", segments=segments, text_sha256=sha256_text(whole))

    verdicts = resolve(tmp_path, [chat(1, 1, said), chat(2, 2, [*said[:3], edited(rng, said[3], 0.8)])])
    assert [rule(verdict) for verdict in verdicts.values()] == ["kept", "near_duplicate"]


def test_switched_off_all_are_kept_and_each_is_drawn_alone(
    tmp_path: Path, planted: list[tuple[Document, Document]]
) -> None:
    documents = [each for pair in planted for each in pair]
    verdicts = resolve(tmp_path, documents, enabled=False)
    assert {rule(verdict) for verdict in verdicts.values()} == {"kept"} and not rows(tmp_path)
    assert sum(verdicts[page.uri] != verdicts[copy.uri] for page, copy in planted) > 200


def test_no_documents_are_no_fault(tmp_path: Path) -> None:
    assert resolve(tmp_path, []) == {} and rows(tmp_path) == []


def test_the_shingles_file_is_taken_away(tmp_path: Path, planted: list[tuple[Document, Document]]) -> None:
    resolve(tmp_path, [page for page, _ in planted])
    assert [path.name for path in tmp_path.iterdir()] == ["clusters.parquet"]


def test_limits_in_the_wrong_order_are_a_sentence() -> None:
    with pytest.raises(ValidationError, match=r"split_similarity \(0.9\) is above similarity \(0.8\)"):
        NearDuplicatesConfig(split_similarity=0.9)
    with pytest.raises(ValidationError, match=r"greater than or equal to 0\.5"):
        NearDuplicatesConfig(similarity=0.3)


_GROWTH = """
    import random, resource, sys, tempfile
    sys.path.insert(0, {tests!r})
    from pathlib import Path
    from documents_in_memory import document
    from forge_pipelines.columns import table_of_documents
    from forge_pipelines.corpus.config import Split
    from forge_pipelines.corpus.near_duplicates import NearDuplicates
    from forge_pipelines.corpus.near_duplicates_config import NearDuplicatesConfig
    from forge_pipelines.corpus.sketches import sketched

    def text(number):
        rng = random.Random(number // 2)
        return " ".join(str(rng.randrange(10**6)) for _ in range(30)) + (" again" if number % 2 else "")

    with tempfile.TemporaryDirectory() as folder:
        with NearDuplicates(NearDuplicatesConfig(), Split(), {{"wiki": 0}}, Path(folder)) as near:
            for start in range(0, {count}, 500):
                added = [document("wiki", f"folder/page-{{n:06}}.md", text(n)) for n in range(start, start + 500)]
                near.add(table_of_documents(added), [*sketched(each.text for each in added)])
            resolution = near.resolve()
        assert resolution.counts()["near_duplicates"] == {count} // 2
        resolution.write_clusters(Path(folder, "clusters.parquet"))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_document_more_costs_at_most_a_kibibyte_of_memory() -> None:
    kibibytes = []
    for count in (20_000, 60_000):
        code = textwrap.dedent(_GROWTH.format(tests=str(Path(__file__).parent), count=count))
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        kibibytes.append(int(done.stdout))
    assert (kibibytes[1] - kibibytes[0]) / 40_000 <= 1
