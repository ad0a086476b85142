import random
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from documents_in_memory import document, pages
from pydantic import ValidationError

from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.reading import read_heldout, read_train
from forge_pipelines.corpus.stage import validate
from forge_pipelines.errors import DataError
from forge_pipelines.manifest import Classification, Manifest
from forge_pipelines.store import Publication, Store
from forge_pipelines.tables import read_rejections


def corpus(*sources: str, **fields: Any) -> CorpusConfig:
    return CorpusConfig.model_validate(
        {"name": "books", "sources": sources, "split": {"heldout_fraction": 0.3}, **fields}
    )


def build(store: Store, config: CorpusConfig, *sources: Manifest) -> tuple[Publication, Path]:
    publication = validate(config, sources, store)
    return publication, store.open(publication.manifest)


def uris(documents: Any) -> set[str]:
    return {each.uri for each in documents}


def is_one_sentence(message: str) -> bool:
    return "\n" not in message and not message.endswith(".") and len(message) < 600


def test_every_document_is_kept_or_rejected_with_its_reason(store: Store, publish_source: Any) -> None:
    wiki = publish_source("wiki", [*pages("wiki", 20), document("wiki", "stub.md", "Too short.")])
    mail = publish_source("mail", [*pages("mail", 10, first=15)])
    publication, folder = build(store, corpus("wiki", "mail"), wiki, mail)
    train, heldout = list(read_train(folder)), list(read_heldout(folder))
    rejected = list(read_rejections(folder / "rejections.parquet"))
    counts = publication.manifest.counts

    received = {(each.source, each.uri) for each in (*pages("wiki", 20), *pages("mail", 10, first=15))}
    assert {(each.source, each.uri) for each in (*train, *heldout, *rejected)} == received | {("wiki", "stub.md")}
    assert len(train) + len(heldout) + len(rejected) == 31
    assert {(each.rule, each.stage) for each in rejected} == {
        ("length", "validated_corpus"),
        ("duplicate", "validated_corpus"),
    }
    assert counts["documents"] == 25 and counts["train"] == len(train) and counts["heldout"] == len(heldout)
    assert counts["documents_by_source"] == {"wiki": 20, "mail": 5}
    assert counts["rejected_by_rule"] == {"duplicate": 5, "length": 1} and counts["duplicates"] == 5
    assert counts["characters"] == sum(len(each.text) for each in (*train, *heldout))
    assert counts["characters"] == sum(counts["characters_by_source"].values())


def test_duplicates_across_sources_keep_the_preferred_source(store: Store, publish_source: Any) -> None:
    wiki, mail = publish_source("wiki", pages("wiki", 20)), publish_source("mail", pages("mail", 30))
    _, folder = build(store, corpus("wiki", "mail"), mail, wiki)
    kept = [*read_train(folder), *read_heldout(folder)]
    assert {each.source for each in kept if each.uri < "page-020.md"} == {"wiki"}
    reasons = [each.reason for each in read_rejections(folder / "rejections.parquet")]
    assert len(reasons) == 20 and all(re.fullmatch(r"same text as wiki: page-0\d\d\.md \(\w{12}\)", r) for r in reasons)


def test_the_per_document_table_has_a_row_for_each_kept_document(store: Store, publish_source: Any) -> None:
    _, folder = build(store, corpus("wiki"), publish_source("wiki", pages("wiki", 20)))
    rows = {row["doc_id"]: row for row in pq.read_table(folder / "table.parquet").to_pylist()}
    for part, documents in (("train", read_train(folder)), ("heldout", read_heldout(folder))):
        for each in documents:
            row = rows.pop(each.doc_id)
            assert (row["split"], row["characters"], row["uri"]) == (part, len(each.text), each.uri)
    assert not rows


def test_adding_documents_moves_none_between_train_and_heldout(store: Store, publish_source: Any) -> None:
    _, before = build(store, corpus("wiki"), publish_source("wiki", pages("wiki", 40)))
    _, after = build(store, corpus("wiki"), publish_source("wiki", pages("wiki", 60)))
    assert uris(read_train(before)) < uris(read_train(after))
    assert uris(read_heldout(before)) < uris(read_heldout(after))


def test_the_same_documents_in_another_order_give_the_same_bytes(store: Store, publish_source: Any) -> None:
    documents = [*pages("wiki", 40), *(document("wiki", f"copy-{each.uri}", each.text) for each in pages("wiki", 10))]
    first, _ = build(store, corpus("wiki"), publish_source("wiki", documents))
    random.Random(0).shuffle(documents)
    second, _ = build(store, corpus("wiki"), publish_source("wiki", documents))
    assert first.manifest.key != second.manifest.key
    assert first.manifest.files == second.manifest.files


def test_the_same_request_is_answered_from_the_store(store: Store, publish_source: Any) -> None:
    wiki = publish_source("wiki", pages("wiki", 20))
    first, _ = build(store, corpus("wiki"), wiki)
    again, _ = build(store, corpus("wiki", description="Another description is the same work."), wiki)
    assert first.fresh and not again.fresh
    assert again.manifest.fingerprint == first.manifest.fingerprint


def test_a_corpus_carries_the_strictest_label_of_its_sources(store: Store, publish_source: Any) -> None:
    wiki = publish_source("wiki", pages("wiki", 20), classification="public")
    mail = publish_source("mail", pages("mail", 20, first=50), classification="confidential")
    publication, _ = build(store, corpus("wiki", "mail"), wiki, mail)
    assert publication.manifest.classification is Classification.CONFIDENTIAL


def test_a_source_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="a source is named twice in wiki, mail, wiki"):
        corpus("wiki", "mail", "wiki")


def test_a_flipped_byte_in_a_source_is_named_and_refused(store: Store, publish_source: Any) -> None:
    wiki = publish_source("wiki", pages("wiki", 20))
    path = store.open(wiki) / "documents.parquet"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"documents\.parquet does not match"):
        build(store, corpus("wiki"), wiki)


@pytest.mark.parametrize(
    ("sources", "fields", "sentence"),
    [
        (
            {"wiki": [document("wiki", "a.md", "short"), document("wiki", "b.md", "short")]},
            {},
            "corpus books keeps no document: rule length rejected 2 of wiki, for example a.md (5 characters, fewer "
            "than 50); mend the documents or the corpus's rules",
        ),
        (
            {"wiki": pages("wiki", 20), "mail": pages("mail", 2)},
            {},
            "source mail contributes nothing to corpus books: rule duplicate rejected 2 of mail, for example "
            "page-000.md (same text as wiki: page-000.md",
        ),
        (
            {"wiki": pages("wiki", 20), "mail": []},
            {},
            "source mail contributes nothing to corpus books: no document came from mail",
        ),
        ({"wiki": pages("wiki", 3)}, {"split": {"heldout_fraction": 1e-9}}, "corpus books has no heldout document"),
        ({"wiki": pages("wiki", 3)}, {"split": {"heldout_fraction": 0.999999}}, "corpus books has no train document"),
    ],
)
def test_a_corpus_that_keeps_too_little_is_a_sentence_and_publishes_nothing(
    store: Store, publish_source: Any, sources: dict[str, Any], fields: dict[str, Any], sentence: str
) -> None:
    manifests = [publish_source(name, documents) for name, documents in sources.items()]
    with pytest.raises(DataError, match=re.escape(sentence)) as caught:
        validate(corpus(*sources, **fields), manifests, store)
    assert is_one_sentence(str(caught.value))
    assert not list(store.manifests("books"))
