"""How much of each source must be left: nothing blocks, little warns, and what a corpus asks for is held."""

import json
import re
from typing import Any

import pytest
from documents_in_memory import document, pages
from pydantic import ValidationError

from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.stage import validate
from forge_pipelines.engine.local import LocalEngine
from forge_pipelines.errors import DataError
from forge_pipelines.manifest import Manifest
from forge_pipelines.progress import OnProgress, Progress, silent
from forge_pipelines.store import Store

SENTENCE = (
    "source mail keeps 3 of 63 documents (4.76 %) in corpus books, less than contributions.{bound}: rule length "
    "rejected 60 of mail, for example stub-00.md (11 characters, fewer than 50); mend the documents or the corpus's "
    "rules"
)
WARNING = SENTENCE.format(bound="warn_below (5 %)")


def corpus(**contributions: Any) -> CorpusConfig:
    said = {"name": "books", "sources": ["wiki", "mail"], "split": {"heldout_fraction": 0.3}}
    return CorpusConfig.model_validate({**said, "contributions": contributions})


def make(config: CorpusConfig, sources: list[Manifest], store: Store, on_progress: OnProgress = silent) -> Manifest:
    return validate(config, sources, store, on_progress, LocalEngine(1)).manifest


@pytest.fixture
def sources(publish_source: Any) -> list[Manifest]:
    """A source of which all is kept, and one of which 3 of 63 documents are."""
    stubs = [document("mail", f"stub-{number:02}.md", f"Too short {number % 10}") for number in range(60)]
    mail = [*stubs, *pages("mail", 3, first=50)]
    return [publish_source("wiki", pages("wiki", 20)), publish_source("mail", mail)]


def test_a_source_of_which_nearly_all_is_rejected_is_a_warning(store: Store, sources: list[Manifest]) -> None:
    reports: list[Progress] = []
    made = make(corpus(), sources, store, reports.append)
    folder = store.open(made)
    assert made.counts["warnings"] == 1
    assert [each.message for each in reports if each.message] == [f"corpus books, warning: {WARNING}"]
    (row,) = (each for each in json.loads((folder / "expectations.json").read_text()) if not each["success"])
    assert (row["expectation"], row["severity"], row["message"]) == ("contributions(mail)", "warning", WARNING)
    assert (row["observed"], row["rows"], row["unexpected"]) == (0.0476, 63, 60)
    for page in ("report.html", "data_docs/index.html"):
        assert "source mail keeps 3 of 63 documents" in (folder / page).read_text()


def test_the_bound_of_a_warning_may_be_another_for_all_or_for_one(store: Store, sources: list[Manifest]) -> None:
    for bounds in ({"warn_below": 0.04}, {"sources": {"mail": {"warn_below": 0}}}):
        assert make(corpus(**bounds), sources, store).counts["warnings"] == 0
    assert make(corpus(sources={"wiki": {"warn_below": 0}}), sources, store).counts["warnings"] == 1


@pytest.mark.parametrize(
    ("bounds", "bound"),
    [
        ({"min_share": 0.05}, "min_share (5 %)"),
        ({"min_documents": 4}, "min_documents (4)"),
        ({"sources": {"mail": {"min_share": 0.5}}}, "min_share (50 %)"),
    ],
)
def test_less_than_a_corpus_asks_for_is_a_sentence_and_publishes_nothing(
    store: Store, sources: list[Manifest], bounds: dict[str, Any], bound: str
) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(SENTENCE.format(bound=bound))}$"):
        make(corpus(**bounds), sources, store)
    assert not list(store.manifests("books"))
    assert make(corpus(min_documents=3, min_share=0.04), sources, store).counts["documents"] == 23


def test_bounds_of_a_source_that_the_corpus_has_not_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"contributions\.sources names male; the corpus is made from wiki, mail"):
        corpus(sources={"male": {"min_share": 0.5}})
