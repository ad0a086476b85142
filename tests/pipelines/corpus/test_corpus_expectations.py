import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
from documents_in_memory import document, pages
from pydantic import ValidationError

from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.expectations import check_expectations
from forge_pipelines.corpus.stage import validate
from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import Manifest
from forge_pipelines.progress import Progress
from forge_pipelines.store import Store


def corpus(*expectations: dict[str, Any]) -> CorpusConfig:
    fields = {"name": "books", "sources": ["wiki"], "split": {"heldout_fraction": 0.3}, "expectations": expectations}
    return CorpusConfig.model_validate(fields)


def expect(name: str, severity: str = "error", **kwargs: Any) -> dict[str, Any]:
    return {"type": name, "kwargs": kwargs, "severity": severity}


SHORT_ENOUGH = expect("expect_column_values_to_be_between", column="characters", max_value=60)


@pytest.fixture
def wiki(publish_source: Any) -> Manifest:
    return publish_source("wiki", pages("wiki", 20))  # type: ignore[no-any-return]


def test_a_failed_expectation_is_a_sentence_and_publishes_nothing(store: Store, wiki: Manifest) -> None:
    with pytest.raises(DataError) as caught:
        validate(corpus(SHORT_ENOUGH), [wiki], store)
    sentence = (
        r"corpus books is not what it must be, and nothing was published: expect_column_values_to_be_between on "
        r"characters does not hold for 20 of 20 rows, for example \d+, \d+"
    )
    assert re.fullmatch(sentence, str(caught.value))
    assert not list(store.manifests("books"))


def test_a_warning_shows_and_publishes(store: Store, wiki: Manifest) -> None:
    reports: list[Progress] = []
    warning = {**SHORT_ENOUGH, "severity": "warning"}
    publication = validate(corpus(warning), [wiki], store, reports.append)
    folder = store.open(publication.manifest)
    assert publication.manifest.counts["warnings"] == 1
    assert [each.message.split(" does ")[0] for each in reports if each.message] == [
        "corpus books, warning: expect_column_values_to_be_between on characters"
    ]
    findings = {each["expectation"]: each for each in json.loads((folder / "expectations.json").read_text())}
    failed = findings["expect_column_values_to_be_between(characters)"]
    assert (failed["success"], failed["severity"], failed["unexpected"], failed["rows"]) == (False, "warning", 20, 20)
    assert sum(each["success"] for each in findings.values()) == len(findings) - 1 == 4


def test_data_docs_name_every_expectation_and_load_nothing(store: Store, wiki: Manifest) -> None:
    rules = [
        {**SHORT_ENOUGH, "severity": "warning"},
        expect("expect_column_mean_to_be_between", column="characters", min_value=1, max_value=1000),
        expect("expect_table_row_count_to_be_between", min_value=1),
        expect("expect_column_values_to_match_regex", column="uri", regex="(?<!x)page-<?"),
    ]
    page = (store.open(validate(corpus(*rules), [wiki], store).manifest) / "data_docs" / "index.html").read_text()
    for rule in rules:
        assert rule["type"] in page
    assert "values must match this regular expression" in page
    assert "<script" not in page and "<link" not in page and "http:" not in page and "https:" not in page


def test_markup_in_a_documents_address_stays_text_in_data_docs(store: Store, publish_source: Any) -> None:
    hostile = document("wiki", "<img src=x onerror=alert(1)>", "A page about valves. " * 5)
    wiki = publish_source("wiki", [*pages("wiki", 20), hostile])
    rule = expect("expect_column_values_to_match_regex", "warning", column="uri", regex="^page")
    page = (store.open(validate(corpus(rule), [wiki], store).manifest) / "data_docs" / "index.html").read_text()
    assert "<img" not in page and page.count("&lt;img src=x") == 2


def test_the_same_findings_give_the_same_bytes(tmp_path: Path, publish_source: Any, wiki: Manifest) -> None:
    rules = [
        {**SHORT_ENOUGH, "severity": "warning"},
        expect("expect_column_distinct_values_to_equal_set", "warning", column="media_type", value_set=["a", "b"]),
        expect("expect_column_quantile_values_to_be_between", "warning", column="characters",
               quantile_ranges={"quantiles": [0.5], "value_ranges": [[0, 1]]}),
    ]  # fmt: skip
    stores = [Store(str(tmp_path / "store"), tmp_path / "scratch") for _ in range(2)]
    first = validate(corpus(*rules), [wiki], stores[0]).manifest
    stores[0].open(first).rename(tmp_path / "aside")
    second = validate(corpus(*rules), [wiki], stores[1]).manifest
    assert first.fingerprint == second.fingerprint and first.created_at <= second.created_at


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (
            expect("expect_column_value_to_be_unique", column="doc_id"),
            "corpus books: Great Expectations has no expectation expect_column_value_to_be_unique; did you mean "
            "expect_column_values_to_be_unique?",
        ),
        (expect("../../../etc/passwd"), "corpus books: Great Expectations has no expectation ../../../etc/passwd"),
        (
            expect("expect_column_values_to_be_unique", column="charaters"),
            "corpus books: expect_column_values_to_be_unique names column charaters, which the table has not; did you "
            "mean characters?",
        ),
        (
            expect("expect_column_values_to_be_unique", colum="doc_id"),
            "corpus books: expect_column_values_to_be_unique is given wrong arguments: column: field required; "
            "colum: extra fields not permitted",
        ),
        (
            expect("expect_column_values_to_match_regex", column="uri", regex="("),
            "corpus books: expect_column_values_to_match_regex cannot be computed over the per-document table: ",
        ),
        (
            expect("expect_column_mean_to_be_between", column="uri", min_value=1),
            "corpus books: expect_column_mean_to_be_between cannot be computed over the per-document table: ",
        ),
        (
            expect("expect_column_max_to_be_between", column="characters", min_value={"$PARAMETER": "x"}),
            "corpus books: the expectations cannot be computed: No value found for $PARAMETER x",
        ),
    ],
)
def test_an_impossible_expectation_is_a_sentence_and_publishes_nothing(
    store: Store, wiki: Manifest, rule: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)) as caught:
        validate(corpus(rule), [wiki], store)
    assert "\n" not in str(caught.value)
    assert not list(store.manifests("books"))


@pytest.mark.parametrize(("name", "sentence"), [("severity", "stands beside kwargs"), ("id", "is not for kwargs")])
def test_what_does_not_belong_into_kwargs_is_refused(name: str, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        corpus({"type": "expect_table_row_count_to_be_between", "kwargs": {name: "warning"}})


def test_the_same_expectation_may_stand_twice(store: Store, wiki: Manifest) -> None:
    rule = expect("expect_column_values_to_be_unique", column="doc_id")
    folder = store.open(validate(corpus(rule, rule), [wiki], store).manifest)
    findings = json.loads((folder / "expectations.json").read_text())
    assert [each["expectation"] for each in findings].count("expect_column_values_to_be_unique(doc_id)") == 3


def test_checking_expectations_when_definitions_load_imports_no_heavy_library() -> None:
    code = (
        "import sys\n"
        "import forge_pipelines.corpus.stage\n"
        "from forge_pipelines.corpus.config import CorpusConfig\n"
        "from forge_pipelines.corpus.expectations import check_expectations\n"
        "rule = {'type': 'expect_column_values_to_be_unique', 'kwargs': {'column': 'uri'}}\n"
        "check_expectations(CorpusConfig(name='books', sources=('wiki',), expectations=(rule,)))\n"
        "assert not {'great_expectations', 'pandas', 'jinja2'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_expectation_of_the_library_passes_the_check_and_no_other() -> None:
    import great_expectations  # noqa: F401 - registers them
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    check_expectations(corpus(*(expect(name) for name in list_registered_expectation_implementations())))
    with pytest.raises(ConfigError, match="has no expectation"):
        check_expectations(corpus(expect("expect_multicolumn_values_to_be_unique")))


def test_great_expectations_opens_no_connection(
    store: Store, wiki: Manifest, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(_socket: socket.socket, address: object) -> NoReturn:
        pytest.fail(f"a connection to {address}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setenv("GX_CLOUD_ACCESS_TOKEN", "token")
    monkeypatch.setenv("GX_CLOUD_ORGANIZATION_ID", "organization")
    assert validate(corpus({**SHORT_ENOUGH, "severity": "warning"}), [wiki], store).fresh
    assert capfd.readouterr().err == ""
