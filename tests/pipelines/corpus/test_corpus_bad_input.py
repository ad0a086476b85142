"""Whatever a rule, an expectation, an evaluation set or a document is: one sentence, or a verdict on the document."""

import os
import random
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corpus_runs import TODAY, corpus, sentences
from documents_in_memory import document

from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.normalize import canonical
from forge_pipelines.corpus.reading import read_heldout, read_train
from forge_pipelines.corpus.stage import validate
from forge_pipelines.engine.local import LocalEngine
from forge_pipelines.errors import ConfigError, DataError, ForgeError
from forge_pipelines.manifest import Manifest
from forge_pipelines.progress import OnProgress, Progress, silent
from forge_pipelines.store import Store
from forge_pipelines.tables import read_rejections

# Rules as a data engineer must not write them.
RULES = """
import sys
from dataclasses import replace
from forge_pipelines.manifest import Segment

def raises(document):
    raise ValueError("this rule\\nis broken")

def ends_the_process(document):
    sys.exit(0)

def calls_itself(document):
    return calls_itself(document)

def answers(document, answer):
    return answer

def changes(document, **changes):
    return replace(document, **changes)

def halves_a_character(document):
    return replace(document, segments=(Segment("text", document.text + "\\ud83d"),))

def gives_half_a_character_as_its_reason(document):
    return "ends in \\ud83d"

def rejects_all(document):
    return "is not wanted"
"""
NUM_DOCUMENTS = 300  # more than a batch: two workers are started


@pytest.fixture
def rules_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which Python finds modules of rules."""
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "bad_rules.py").write_text(RULES)
    (folder / "script.py").write_text("import sys\nsys.exit(0)\n")
    (folder / "torn.py").write_text("def rule(document:\n")
    monkeypatch.syspath_prepend(folder)
    for name in ("bad_rules", "script", "torn"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return folder


@pytest.fixture
def wiki(publish_source: Any) -> Manifest:
    draw = random.Random(3)
    texts = [sentences(draw, 3) for _ in range(NUM_DOCUMENTS)]
    return publish_source("wiki", [document("wiki", f"{n:03}.md", text) for n, text in enumerate(texts)])  # type: ignore[no-any-return]


def plain(**fields: Any) -> CorpusConfig:
    return CorpusConfig.model_validate({"name": "books", "sources": ["wiki"], **fields})


def refused(
    kind: type[ForgeError],
    config: CorpusConfig,
    source: Manifest,
    store: Store,
    on_progress: OnProgress = silent,
    num_workers: int = 1,
) -> str:
    """Make a corpus, hold that it ends with one sentence and publishes nothing, and return the sentence."""
    with pytest.raises(kind) as caught:
        validate(config, [source], store, on_progress, LocalEngine(num_workers), TODAY)
    sentence = str(caught.value)
    assert "\n" not in sentence and "Traceback" not in sentence and len(sentence) < 700
    assert [manifest.kind for manifest in store.manifests()] == ["raw_documents"]
    assert [path.name for path in (Path(store.address) / ".staging").glob("*")] in (["guard"], [])
    return sentence


NONSENSE = "; it must return a reason to reject (text), None, or the document with other text or language"


@pytest.mark.parametrize(
    ("rule", "arguments", "kind", "said"),
    [
        (
            "bad_rules:raises",
            {},
            DataError,
            "and nothing was published: ValueError: this rule is broken; mend the rule",
        ),
        ("bad_rules:ends_the_process", {}, DataError, "and nothing was published: SystemExit: 0; mend the rule"),
        ("bad_rules:calls_itself", {}, DataError, "RecursionError: maximum recursion depth exceeded"),
        ("bad_rules:answers", {"answer": False}, DataError, f"and nothing was published{NONSENSE}"),
        ("bad_rules:answers", {"answer": [1]}, DataError, "returns [1] (list) for wiki: 000.md"),
        (
            "bad_rules:changes",
            {"language": 7},
            DataError,
            "returns a document in the language 7 (int) for wiki: 000.md",
        ),
        ("bad_rules:changes", {"segments": None}, DataError, "returns a document whose segments are no text for wiki"),
        ("bad_rules:halves_a_character", {}, DataError, "returns a document whose segments are no text for wiki"),
        ("bad_rules:gives_half_a_character_as_its_reason", {}, DataError, r"returns 'ends in \ud83d' (str) for wiki"),
        ("bad_rules:no_such", {}, ConfigError, "has no function no_such; write one, or another name"),
        ("bad_rules:raises", {"mark": 1}, ConfigError, "rule bad_rules:raises cannot be given a document, mark: "),
        ("no_such:rule", {}, ConfigError, "cannot be imported: ModuleNotFoundError: No module named 'no_such'"),
        ("script:rule", {}, ConfigError, "rule script:rule cannot be imported: SystemExit: 0; it must be a module"),
        ("torn:rule", {}, ConfigError, "rule torn:rule cannot be imported: SyntaxError: "),
    ],
)
def test_a_rule_that_is_none_is_one_sentence_that_names_it(
    store: Store,
    wiki: Manifest,
    rules_folder: Path,
    rule: str,
    arguments: dict[str, Any],
    kind: type[ForgeError],
    said: str,
) -> None:
    num_workers = 2 if rule == "bad_rules:ends_the_process" else 1
    config = plain(rules=[{"rule": rule, "arguments": arguments}])
    sentence = refused(kind, config, wiki, store, num_workers=num_workers)
    assert said in sentence and (rule in sentence or "bad_rules.py" in sentence)


def test_a_rule_whose_module_is_gone_when_the_work_begins_is_one_sentence(
    store: Store, wiki: Manifest, rules_folder: Path
) -> None:
    def take_away(_: Progress) -> None:
        (rules_folder / "bad_rules.py").unlink(missing_ok=True)

    config = plain(rules=[{"rule": "bad_rules:rejects_all"}])
    assert "rule bad_rules:rejects_all cannot be imported" in refused(ConfigError, config, wiki, store, take_away, 2)


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"rules": [{"rule": "bad_rules:rejects_all"}]}, "bad_rules:rejects_all"),
        ({"languages": {"allowed": ["zu"], "keep_unknown": False}}, "language"),
        ({"terms": {"licences": ["MIT"]}}, "licence"),
        ({"quality": {}}, "gopher_words"),
        ({"personal_data": {"email": "reject"}}, "personal_data"),
    ],
)
def test_a_rule_that_rejects_everything_is_named_with_an_example(
    store: Store, publish_source: Any, rules_folder: Path, fields: dict[str, Any], rule: str
) -> None:
    wiki = publish_source("wiki", [document("wiki", f"{n}.md", f"Ask a{n}@acme.example. " * 3) for n in range(20)])
    sentence = refused(DataError, plain(**fields), wiki, store)
    assert sentence.startswith(f"corpus books keeps no document: rule {rule} rejected 20 of wiki, for example 0.md (")
    assert sentence.endswith("; mend the documents or the corpus's rules")


def expectation(name: str, **kwargs: Any) -> CorpusConfig:
    return plain(expectations=[{"type": name, "kwargs": kwargs}])


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            expectation("expect_documents_to_be_good"),
            "corpus books: Great Expectations has no expectation expect_documents_to_be_good",
        ),
        (
            expectation("expect_column_values_to_be_unique", colum="uri"),
            "corpus books: expect_column_values_to_be_unique is given wrong arguments: column: field required",
        ),
        (
            expectation("expect_compound_columns_to_be_unique", column_list=7),
            "corpus books: expect_compound_columns_to_be_unique is given a column_list that lists no column",
        ),
        (
            expectation("expect_table_columns_to_match_ordered_list", column_list=[]),
            "corpus books: expect_table_columns_to_match_ordered_list is given a column_list that lists no column",
        ),
        (
            expectation("expect_column_quantile_values_to_be_between", column="characters", quantile_ranges={}),
            "corpus books: expect_column_quantile_values_to_be_between cannot be computed over the per-document table: "
            "KeyError: 'quantiles'; mend its kwargs",
        ),
        (
            expectation("expect_column_kl_divergence_to_be_less_than", column="uri", partition_object={}, threshold=1),
            "corpus books: expect_column_kl_divergence_to_be_less_than cannot be computed over the per-document table: "
            "ValueError: Invalid partition_object provided; mend its kwargs",
        ),
    ],
)
def test_an_expectation_that_is_none_is_one_sentence_that_names_it(
    store: Store, wiki: Manifest, config: CorpusConfig, said: str
) -> None:
    assert refused(ConfigError, config, wiki, store).startswith(said)


def exam(folder: Path) -> CorpusConfig:
    (folder / "exam.jsonl").write_text('{"text": "what is closed first"}\n')
    return plain(decontamination={"evaluation_sets": [{"name": "exam", "path": str(folder / "exam.jsonl")}]})


def test_an_evaluation_set_that_is_missing_is_one_sentence(store: Store, wiki: Manifest, tmp_path: Path) -> None:
    config = exam(tmp_path)
    (tmp_path / "exam.jsonl").unlink()
    missing = f"evaluation set exam: there is no file at {tmp_path}/exam.jsonl; put it there, or mend `path`"
    assert refused(ConfigError, config, wiki, store) == missing


@pytest.mark.parametrize(
    ("spoil", "kind", "said"),
    [
        (lambda path: path.unlink(), ConfigError, "there is no file at"),
        (lambda path: path.write_text("nonsense\n"), DataError, "line 1 is no JSON"),
        (lambda path: path.write_text(""), DataError, "has no item"),
    ],
    ids=["gone", "no JSON", "empty"],
)
def test_an_evaluation_set_that_is_spoilt_when_the_work_begins_is_one_sentence(
    store: Store,
    wiki: Manifest,
    tmp_path: Path,
    spoil: Callable[[Path], object],
    kind: type[ForgeError],
    said: str,
) -> None:
    def spoil_once(_: Progress) -> None:
        if spoilt := [path for path in [tmp_path / "exam.jsonl"] if path.exists()]:
            spoil(spoilt[0])

    sentence = refused(kind, exam(tmp_path), wiki, store, spoil_once, 2)
    assert sentence.startswith("evaluation set exam") and said in sentence


SCRIPTS = (  # noqa: SIM905 - words are read more easily than strings
    "Стоп клапан вентиль 阀门 关闭 ஆணி வால்வு שסתום סגור صمام مغلق Βαλβίδα κλειστή 🙂 👍🏽 e\u0301\u0328 ᾳ̂ ﬁn"
).split()


def odd_documents() -> dict[str, tuple[str, str]]:
    """Return odd documents, each with the rule that rejects it, or "" where it is kept."""
    draw = random.Random(4)
    block = sentences(draw, 2_000)
    lines = [" ".join(f"{draw.choice(SCRIPTS)}{draw.randrange(99)}" for _ in range(9)) for _ in range(12)]
    return {
        "50-megabytes.py": (f"{block}\n" * (50_000_000 // len(block)), ""),
        "one-character.md": ("a" * 50_000_000, "gopher_words"),
        "one-ideograph.md": ("阀" * 1_000_000, "c4_sentences"),
        "blanks.md": (" " * 5_000_000, "length"),
        "line-feeds.md": ("\n" * 5_000_000, "length"),
        "controls.md": ("\x00\x01\x02\x1b\x7f\x85" * 100_000, "length"),
        "marks-in-no-order.md": ("e" + "\u0301\u0316" * 250_000, "gopher_words"),
        "scripts.md": (".\n".join([*lines, ""]), ""),
    }


def cpu_seconds() -> float:
    """The time that this process and its children that have ended took of the cores."""
    return sum(os.times()[:4])


def test_odd_documents_get_a_verdict_in_seconds_and_change_nothing_for_the_others(
    store: Store, publish_source: Any, tmp_path: Path
) -> None:
    draw = random.Random(6)
    pages = [document("wiki", f"page-{number}.md", sentences(draw)) for number in range(40)]
    odd = odd_documents()
    wiki = publish_source("wiki", [*pages, *(document("wiki", uri, text) for uri, (text, _) in odd.items())])
    config = corpus(tmp_path, languages=None, length={"min_characters": 1, "max_characters": 60_000_000})
    alone = parts_of(store, validate(config, [publish_source("wiki", pages)], store, today=TODAY).manifest)
    started = cpu_seconds()
    made = validate(config, [wiki], store, silent, LocalEngine(2), TODAY).manifest
    assert cpu_seconds() - started < 90
    kept, rejected = parts_of(store, made), read_rejections(store.open(made) / "rejections.parquet")
    verdicts = dict.fromkeys(kept, "") | {each.uri: each.rule for each in rejected}
    assert verdicts == dict.fromkeys(alone, "") | {uri: rule for uri, (_, rule) in odd.items()}
    assert {uri: kept[uri] for uri in alone} == alone and len(alone) == 40


def parts_of(store: Store, manifest: Manifest) -> dict[str, str]:
    """Return the part of the split of each document that a corpus keeps."""
    folder = store.open(manifest)
    train, heldout = ({each.uri for each in read(folder)} for read in (read_train, read_heldout))
    return dict.fromkeys(train, "train") | dict.fromkeys(heldout, "heldout")


def test_marks_in_a_row_are_composed_as_unicode_says() -> None:
    draw = random.Random(8)
    marks = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.combining(chr(code))]
    for letter in ("e", "é", "ệ", "각", "가", "阀", "🙂" * 70, ""):
        text = f"x{letter}{''.join(draw.choices(marks, k=500))}🙂{''.join(draw.choices(marks, k=70))}"
        assert canonical(text, keep_blanks=False) == unicodedata.normalize("NFC", text)
