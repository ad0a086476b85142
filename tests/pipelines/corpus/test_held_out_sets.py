"""Evaluation sets that are another corpus's held-out documents: named, found in long documents, made anew with them."""

import random
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import corpus_samples
import pytest
from documents_in_memory import document
from pydantic import ValidationError

from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.decontamination import Decontamination, EvaluationItems, drop_contaminated
from forge_pipelines.corpus.evaluation_sets import Item, read_items
from forge_pipelines.corpus.evaluation_sets_config import EvaluationSet, Tolerance, check_rings
from forge_pipelines.corpus.reading import read_heldout, read_train, source_fingerprints
from forge_pipelines.corpus.stage import validate
from forge_pipelines.engine.local import LocalEngine
from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import Document, Manifest
from forge_pipelines.store import Store
from forge_pipelines.tables import read_rejections

LICENCE = (
    "permission is hereby granted free of charge to any person obtaining a copy of this software and associated "
    "documentation files to deal in the software without restriction"
)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"name": "exam"}, "has either `name` and `path`, or `corpus`; this one has neither"),
        ({"name": "exam", "path": "a.jsonl", "corpus": "wiki"}, "or `corpus`; this one has both"),
        ({"path": "a.jsonl"}, "give the one at a.jsonl a name"),
        ({"corpus": "wiki", "name": "wiki"}, "a corpus has a name of its own and no columns, so leave wiki alone"),
        ({"corpus": "wiki", "column": "q"}, "a corpus has a name of its own and no columns, so leave wiki alone"),
        ({"corpus": "wiki", "min_share": 1.5}, "less than or equal to 1"),
    ],
)
def test_a_set_is_of_files_or_of_a_corpus_and_says_which(said: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(sentence)):
        EvaluationSet.model_validate(said)


def test_a_corpus_that_is_named_twice_or_as_a_set_of_files_is_refused() -> None:
    for other in ({"corpus": "wiki"}, {"name": "wiki", "path": "a.jsonl"}):
        with pytest.raises(ValidationError, match="an evaluation set is named twice in wiki, wiki"):
            Decontamination.model_validate({"evaluation_sets": [{"corpus": "wiki"}, other]})


def found_in(text: str, items: Sequence[str], min_share: float, max_items: int | None = None) -> str | None:
    known = [Item("wiki", f"{number}.md", item) for number, item in enumerate(items)]
    searched = EvaluationItems(known, tolerances={"wiki": Tolerance(min_share, max_items)})
    rejected = drop_contaminated([document("s", "a.md", text)], searched).rejected
    return rejected[0].reason if rejected else None


def test_half_of_a_held_out_document_is_found_and_a_quotation_is_not() -> None:
    drawn = random.Random(5)
    items = [corpus_samples.prose(drawn, 100) for _ in range(3)]
    words = items[1].split()
    assert found_in(f"So it says: {' '.join(words[:49])}. That is all.", items, min_share=0.5) is None
    reason = found_in(f"So it says: {' '.join(words[10:61])}. That is all.", items, min_share=0.5)
    assert reason is not None
    assert "stands in evaluation set wiki, item 1.md, as «" in reason
    assert reason.endswith("», and so do 51% of the item's words")
    apart = f"{' '.join(words[:26])} and so on {' '.join(words[60:86])}"
    assert found_in(apart, items, min_share=0.5) is not None, "what is shared adds up over a document"


def test_what_many_held_out_documents_share_is_not_looked_for() -> None:
    drawn = random.Random(6)
    items = [f"{LICENCE} {corpus_samples.prose(drawn, 20)}" for _ in range(4)]
    quoting = f"{corpus_samples.prose(drawn)} {LICENCE}"
    assert found_in(quoting, items, min_share=0.5) is not None
    assert found_in(quoting, items, min_share=0.5, max_items=4) is not None
    assert found_in(quoting, items, min_share=0.5, max_items=3) is None
    assert found_in(f"{quoting} {items[2]}", items, min_share=0.5, max_items=3) is not None
    assert not EvaluationItems([Item("wiki", "", LICENCE)] * 4, tolerances={"wiki": Tolerance(0.5, 3)}).looked_for


def test_one_set_does_not_change_what_is_looked_for_of_another() -> None:
    items = [*[Item("exam", f"{number}", LICENCE) for number in range(5)], Item("wiki", "a.md", LICENCE)]
    tolerances = {"wiki": Tolerance(0.5, 3), "exam": Tolerance(max_items=2)}
    assert [item.set for item in EvaluationItems(items, tolerances=tolerances).looked_for] == ["wiki"]
    thirteen = document("s", "a.md", " ".join(LICENCE.split()[:13]))
    assert not drop_contaminated([thirteen], EvaluationItems(items[4:], tolerances=tolerances)).kept


def held_by_hand(text: str, item: str, common: set[tuple[str, ...]], min_share: float) -> bool:
    """Count the words of an item that stand in runs of 13 which the text has, too, among those in runs looked for."""
    words, others = item.rstrip(".").split(), re.sub(r"\.", "", text).split()
    theirs = {tuple(others[at : at + 13]) for at in range(len(others) - 12)}
    sought, shared = set[int](), set[int]()
    for at in range(len(words) - 12):
        run = tuple(words[at : at + 13])
        if run not in common:
            sought.update(range(at, at + 13))
            shared.update(range(at, at + 13) if run in theirs else ())
    return bool(shared) and len(shared) >= min_share * len(sought)


@pytest.mark.parametrize(("min_share", "max_items"), [(0.0, 1), (0.3, None), (0.5, 2), (0.4, 1)])
def test_what_is_found_is_what_counting_words_by_hand_finds(min_share: float, max_items: int | None) -> None:
    drawn = random.Random(7)
    parts = [corpus_samples.prose(drawn, 20).rstrip(".") for _ in range(40)]
    items = [" ".join(drawn.sample(parts, drawn.randrange(1, 6))) for _ in range(30)]
    texts = [" ".join([*drawn.sample(parts, drawn.randrange(1, 8)), corpus_samples.prose(drawn)]) for _ in range(100)]
    runs = [{tuple(item.split()[at : at + 13]) for at in range(len(item.split()) - 12)} for item in items]
    common = {run for run in set().union(*runs) if max_items and sum(run in those for those in runs) > max_items}
    searched = EvaluationItems(
        [Item("wiki", str(number), item) for number, item in enumerate(items)],
        tolerances={"wiki": Tolerance(min_share, max_items)},
    )
    found = [hit is not None for hit in searched.find(texts)]
    assert found == [any(held_by_hand(text, item, common, min_share) for item in items) for text in texts]
    assert 5 < sum(found) < 100


def corpus(name: str, source: str, **fields: Any) -> CorpusConfig:
    said = {"name": name, "sources": [source], "split": {"heldout_fraction": 0.3}, **fields}
    return CorpusConfig.model_validate(said)


def manuals(seed: int, count: int = 30) -> list[Document]:
    drawn = random.Random(seed)
    return [document("manuals", f"manual-{number:02}.md", corpus_samples.prose(drawn)) for number in range(count)]


@pytest.fixture
def prose(store: Store, publish_source: Any) -> Manifest:
    """A corpus, some of whose documents are held out."""
    return validate(corpus("prose", "manuals"), [publish_source("manuals", manuals(1), "confidential")], store).manifest


def copies(store: Store, other: Manifest) -> list[Document]:
    """Documents of another source that hold two held-out documents of a corpus, and two that are trained on there."""
    folder = store.open(other)
    held, trained = islice(read_heldout(folder), 2), islice(read_train(folder), 2)
    drawn = random.Random(9)
    return [
        *(document("wiki", f"held-{each.uri}", f"As they say: {each.text} So be it.") for each in held),
        *(document("wiki", f"trained-{each.uri}", f"As they say: {each.text} So be it.") for each in trained),
        *(document("wiki", f"own-{number:02}.md", corpus_samples.prose(drawn)) for number in range(30)),
    ]


AGAINST = {"decontamination": {"evaluation_sets": [{"corpus": "prose"}]}}


@pytest.mark.parametrize("num_workers", [1, 2])
def test_no_document_holds_what_the_named_corpus_holds_out(
    store: Store, publish_source: Any, prose: Manifest, num_workers: int
) -> None:
    wiki = publish_source("wiki", copies(store, prose))
    engine = LocalEngine(num_workers)
    made = validate(corpus("books", "wiki", **AGAINST), [wiki], store, engine=engine, held_out=[prose]).manifest
    folder = store.open(made)
    rejected = {row.uri: row.reason for row in read_rejections(folder / "rejections.parquet")}
    held = [each.uri for each in islice(read_heldout(store.open(prose)), 2)]
    assert sorted(rejected) == sorted(f"held-{uri}" for uri in held)
    for uri in held:
        assert f"stands in evaluation set prose, item {uri}, as «" in rejected[f"held-{uri}"]
    assert made.inputs["heldout:prose"] == prose.fingerprint
    assert source_fingerprints(made) == {"wiki": wiki.fingerprint}


def test_what_the_named_corpus_holds_out_makes_a_corpus_anew(store: Store, publish_source: Any) -> None:
    first = validate(corpus("prose", "manuals"), [publish_source("manuals", manuals(1))], store).manifest
    wiki = publish_source("wiki", copies(store, first))
    config = corpus("books", "wiki", **AGAINST)
    made = validate(config, [wiki], store, held_out=[first])
    assert not validate(config, [wiki], store, held_out=[first]).fresh
    other = validate(corpus("prose", "manuals"), [publish_source("manuals", manuals(2))], store).manifest
    again = validate(config, [wiki], store, held_out=[other])
    assert again.fresh
    assert made.manifest.counts["rejected_by_rule"] == {"contaminated": 2}
    assert again.manifest.counts["rejected_by_rule"] == {}


def test_a_corpus_carries_the_label_of_what_it_must_not_hold(
    store: Store, publish_source: Any, prose: Manifest
) -> None:
    wiki = publish_source("wiki", copies(store, prose), "public")
    made = validate(corpus("books", "wiki", **AGAINST), [wiki], store, held_out=[prose]).manifest
    assert made.classification.value == "confidential", "rejections name its documents and quote them"


def test_a_damaged_held_out_part_is_named_and_refused(store: Store, publish_source: Any, prose: Manifest) -> None:
    wiki = publish_source("wiki", copies(store, prose))
    path = Path(store.address_of(prose)) / "heldout.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match=r"heldout\.parquet does not match"):
        validate(corpus("books", "wiki", **AGAINST), [wiki], store, held_out=[prose])


def test_each_held_out_document_is_an_item_at_its_address(store: Store, prose: Manifest) -> None:
    folder = store.open(prose)
    items = list(read_items([EvaluationSet(corpus="prose")], {"prose": folder}))
    assert [(item.set, item.place, item.text) for item in items] == [
        ("prose", each.uri, each.text) for each in read_heldout(folder)
    ]
    assert len(items) == prose.counts["heldout"] > 3


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ({"a": ["a"]}, r"^corpus a names itself under decontamination\.evaluation_sets; remove `- \{corpus: a\}`"),
        ({"a": ["b"], "b": ["a"]}, r"^the corpora a → b → a name each other's held-out documents .*; remove one"),
        ({"c": ["b", "d"], "b": ["a"], "a": ["c"], "d": []}, r"^the corpora a → c → b → a name each other's"),
    ],
)
def test_a_ring_of_corpora_is_one_sentence_that_names_it(named: dict[str, list[str]], sentence: str) -> None:
    for corpus_name in named.keys() - {"d"}:
        with pytest.raises(ConfigError, match=sentence) as caught:
            check_rings(corpus_name, named)
        assert "\n" not in str(caught.value) and not str(caught.value).endswith(".")


def test_what_waits_for_a_ring_without_being_in_it_is_not_blamed() -> None:
    named = {"a": ["b"], "b": ["c"], "c": ["b"], "d": ["e"], "e": []}
    for outside in ("a", "d", "e"):
        check_rings(outside, named)
