"""Masked documents leave holes: nothing of them is left in the rows, and nothing else in the shards is another."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from shard_corpora import CHATML, base, chat, corpus, document, preference

from forge_pipelines.errors import DataError
from forge_pipelines.manifest import Document, Manifest, sha256_text
from forge_pipelines.shards.config import CorpusShare, Examples, ShardsConfig, TokenizerConfig
from forge_pipelines.shards.masking import MASKED, key_unmasked, mask, masked_texts
from forge_pipelines.shards.reading import CORPORA, LAYOUT, SPANS, open_shards
from forge_pipelines.shards.stage import shard
from forge_pipelines.store import Store

TEXTS = [
    document(
        "books" if number % 5 else "mail", f"Chapter {number}. " + f"Fox {number} jumps over dogs; " * (number % 7)
    )
    for number in range(60)
]
CHATS = [chat("desk", f"Question {number}?", f"Answer {number}. " * (number % 9 + 1)) for number in range(300)]
PAIRS = [
    preference("desk", f"Question {number}?", "Yes. " * (number % 5 + 1), f"No, {number}.") for number in range(300)
]


def publish(store: Store, documents: Sequence[Document], examples: Examples = "texts") -> Manifest:
    """Publish shards of some documents: of texts with a tokenizer of their own."""
    sources = sorted({each.source for each in documents})
    corpora = {"library": corpus(store, "library", documents, sources)}
    config = ShardsConfig(
        corpora=(CorpusShare(corpus="library"),),
        tokenizer=TokenizerConfig(vocabulary_size=400),
        sequence_length=64 if examples == "texts" else 512,
    )
    adapted = None if examples == "texts" else base(store, CHATML)
    return shard("m", corpora, config, store, base=adapted, examples=examples).manifest


def rows_of(folder: Path) -> dict[str, NDArray[np.int64]]:
    rows = open_shards(folder).sequences.with_format("numpy")
    return {name: np.array(rows[name]) for name in rows.column_names}


def spans_of(folder: Path, texts: Sequence[str]) -> list[Mapping[str, int]]:
    documents = pq.read_table(folder / "documents.parquet").to_pylist()
    numbers = {row["doc_index"] for row in documents if row["text_sha256"] in texts}
    return [span for span in pq.read_table(folder / SPANS).to_pylist() if span["doc_index"] in numbers]


@pytest.mark.parametrize(("examples", "documents"), [("texts", TEXTS), ("chats", CHATS)])
def test_a_masked_document_is_padding_without_labels_and_all_else_is_as_it_was(
    store: Store, examples: Examples, documents: Sequence[Document]
) -> None:
    shards = publish(store, documents, examples)
    texts = [documents[number].text_sha256 for number in (6, 20, 59)]
    before, after = store.open(shards), store.open(mask(shards, texts, store).manifest)
    expected, holes = rows_of(before), spans_of(before, texts)
    assert len(holes) >= 3
    for hole in holes:
        place = hole["sequence"], slice(hole["start"], hole["start"] + hole["length"])
        expected["input_ids"][place], expected["labels"][place] = 0, -100
    for name, values in rows_of(after).items():
        assert (values == expected[name]).all(), name


def test_a_masked_pair_has_two_equal_answers_of_padding_and_the_other_pairs_are_as_they_were(store: Store) -> None:
    shards = publish(store, PAIRS, "preferences")
    masked = mask(shards, [PAIRS[3].text_sha256, PAIRS[270].text_sha256], store).manifest
    before, after = (open_shards(store.open(each)).sequences.to_list() for each in (shards, masked))
    pad = {"prompt_ids": [0], "chosen_ids": [0], "rejected_ids": [0]}
    assert after == [pad if number in (3, 270) else row for number, row in enumerate(before)]


def test_order_spans_and_documents_stay_and_the_table_says_which_are_masked(store: Store) -> None:
    shards = publish(store, TEXTS)
    masked = mask(shards, [TEXTS[6].text_sha256], store).manifest
    before, after = store.open(shards), store.open(masked)
    for path in (CORPORA, SPANS, LAYOUT, "tokenizer/tokenizer.json"):
        assert (before / path).read_bytes() == (after / path).read_bytes(), path
    expected = pq.read_table(before / "documents.parquet").to_pylist()
    for row in expected:
        row[MASKED] = row["doc_id"] == TEXTS[6].doc_id
        row["num_labels"] = 0 if row[MASKED] else row["num_labels"]
    assert pq.read_table(after / "documents.parquet").to_pylist() == expected


def test_what_is_left_is_counted_and_a_source_of_which_nothing_is_left_has_zero(store: Store) -> None:
    shards = publish(store, TEXTS)
    mail = [each for each in TEXTS if each.source == "mail"]
    masked = mask(shards, [each.text_sha256 for each in mail], store).manifest
    folder = store.open(masked)
    rows = [row for row in pq.read_table(folder / "documents.parquet").to_pylist() if not row[MASKED]]
    labels = rows_of(folder)["labels"]
    left: dict[str, Any] = {
        "documents": len(TEXTS) - len(mail),
        "masked_documents": len(mail),
        "tokens": sum(row["num_tokens"] for row in rows),
        "trainable_tokens": int((labels != -100).sum()),
        "trainable_tokens_by_source": {"books": int((labels != -100).sum()), "mail": 0},
    }
    assert dict(masked.counts) == {**shards.counts, **left}


def test_every_document_with_the_text_is_masked_whatever_its_source(store: Store) -> None:
    twin = document("mail", TEXTS[6].text)
    shards = publish(store, [*TEXTS, twin])
    made = mask(shards, [twin.text_sha256], store)
    rows = pq.read_table(store.open(made.manifest) / "documents.parquet").to_pylist()
    assert {row["doc_id"] for row in rows if row[MASKED]} == {TEXTS[6].doc_id, twin.doc_id}


def test_it_is_known_what_was_masked_in_which_shards(store: Store) -> None:
    shards = publish(store, TEXTS)
    texts = [TEXTS[number].text_sha256 for number in (9, 6)]
    masked = mask(shards, texts, store).manifest
    again = mask(masked, [TEXTS[30].text_sha256], store).manifest
    assert masked.inputs == {**shards.inputs, "unmasked": shards.fingerprint}
    assert masked.parameters == {**shards.parameters, "masked_texts": sorted(texts)}
    assert masked_texts(again) == {*texts, TEXTS[30].text_sha256}
    assert key_unmasked(again) == key_unmasked(masked) == shards.key
    assert not mask(shards, texts, store).fresh
    at_once = mask(shards, [*texts, TEXTS[30].text_sha256], store).manifest
    assert at_once.files == again.files


@pytest.mark.parametrize(
    ("masked", "message"),
    [
        ([sha256_text("never seen")], r"^the shards of m hold no document with the text af0039ba3d6d; look at"),
        ([each.text_sha256 for each in TEXTS], r"^the shards of m hold nothing to learn from without .* and 57 more; "),
    ],
)
def test_what_cannot_be_masked_is_one_sentence_and_nothing_is_published(
    store: Store, masked: Sequence[str], message: str
) -> None:
    shards = publish(store, TEXTS)
    with pytest.raises(DataError, match=message):
        mask(shards, masked, store)
    assert [*store.manifests(kind="tokenized_shards")] == [shards]
