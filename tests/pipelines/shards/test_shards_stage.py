"""Shards: every token of every training document stands somewhere, and nothing is trained on that is not there."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from shard_corpora import corpus, document
from tokenizers import Tokenizer

from forge_pipelines.errors import DataError
from forge_pipelines.manifest import Manifest, sha256_text
from forge_pipelines.shards.config import CorpusShare, ShardsConfig, TokenizerConfig
from forge_pipelines.shards.reading import open_shards
from forge_pipelines.shards.stage import shard
from forge_pipelines.store import Store

TEXTS = [f"Chapter {n}. " + f"The quick brown fox number {n} jumps over lazy dogs; " * (n % 7 + 1) for n in range(60)]


def config(*corpora: CorpusShare, optional_sources: tuple[str, ...] = ()) -> ShardsConfig:
    return ShardsConfig(
        corpora=corpora or (CorpusShare(corpus="library"),),
        tokenizer=TokenizerConfig(vocabulary_size=400),
        sequence_length=64,
        optional_sources=optional_sources,
    )


@pytest.fixture
def corpora(store: Store) -> Mapping[str, Manifest]:
    return {"library": corpus(store, "library", [document("books", text) for text in TEXTS])}


def test_every_document_can_be_read_back_from_its_spans(store: Store, corpora: Mapping[str, Manifest]) -> None:
    folder = store.open(shard("m", corpora, config(), store).manifest)
    shards = open_shards(folder)
    ids = np.array(shards.sequences.with_format("numpy")["input_ids"])
    tokenizer = Tokenizer.from_file(str(shards.tokenizer_folder / "tokenizer.json"))
    documents = pq.read_table(folder / "documents.parquet").to_pylist()
    pieces: dict[int, list[int]] = {}
    for span in pq.read_table(folder / "spans.parquet").to_pylist():
        row = ids[span["sequence"], span["start"] : span["start"] + span["length"]]
        pieces.setdefault(span["doc_index"], []).extend(row.tolist())
    texts = [tokenizer.decode(pieces[document["doc_index"]]) for document in documents]
    assert texts == TEXTS
    assert [sha256_text(text) for text in texts] == [document["text_sha256"] for document in documents]


def test_a_piece_starts_at_position_zero_and_its_first_token_is_no_label(
    store: Store, corpora: Mapping[str, Manifest]
) -> None:
    publication = shard("m", corpora, config(), store)
    folder = store.open(publication.manifest)
    rows = open_shards(folder).sequences.with_format("numpy")
    ids, positions, labels = (np.array(rows[name]) for name in ("input_ids", "position_ids", "labels"))
    expected = np.full_like(labels, -100)
    for span in pq.read_table(folder / "spans.parquet").to_pylist():
        start, end = span["start"], span["start"] + span["length"]
        assert positions[span["sequence"], start:end].tolist() == list(range(span["length"]))
        expected[span["sequence"], start + 1 : end] = ids[span["sequence"], start + 1 : end]
    assert (labels == expected).all()
    assert (labels != -100).sum() == publication.manifest.counts["trainable_tokens"]
    assert (labels != -100).any(axis=1).all(), "a sequence without a label would be trained on nothing"


def test_a_quoted_special_token_is_text(store: Store) -> None:
    rows = [document("books", text + " the mark </s> ends, <s> begins and <pad> fills.") for text in TEXTS]
    folder = store.open(shard("m", {"library": corpus(store, "library", rows)}, config(), store).manifest)
    ids = np.array(open_shards(folder).sequences.with_format("numpy")["input_ids"])
    tokens = pq.read_table(folder / "documents.parquet")["num_tokens"].to_pylist()
    assert (ids == 1).sum() == len(rows), "one <s> a document"
    assert (ids == 2).sum() == len(rows), "one </s> a document"
    assert min(tokens) > 20


def test_the_same_corpus_gives_the_same_fingerprint(
    store: Store, tmp_path: Path, corpora: Mapping[str, Manifest]
) -> None:
    elsewhere = Store(str(tmp_path / "other"), tmp_path / "scratch2")
    again = {"library": corpus(elsewhere, "library", [document("books", text) for text in TEXTS])}
    first, second = shard("m", corpora, config(), store), shard("m", again, config(), elsewhere)
    assert first.fresh
    assert second.fresh
    assert first.manifest.fingerprint == second.manifest.fingerprint
    assert not shard("m", corpora, config(), store).fresh


def test_each_source_is_counted(store: Store) -> None:
    rows = [document("books" if n % 2 else "mail", text) for n, text in enumerate(TEXTS)]
    made = {"library": corpus(store, "library", rows, ("books", "mail"))}
    counts = shard("m", made, config(), store).manifest.counts
    assert set(counts["trainable_tokens_by_source"]) == {"books", "mail"}
    assert sum(counts["trainable_tokens_by_source"].values()) == counts["trainable_tokens"]


def test_a_source_without_a_trainable_token_fails_by_name_unless_it_may(store: Store) -> None:
    made = {"library": corpus(store, "library", [document("books", text) for text in TEXTS], ("books", "mail"))}
    with pytest.raises(DataError, match="source mail contributes no trainable token"):
        shard("m", made, config(), store)
    assert list(store.manifests(kind="tokenized_shards")) == []
    assert shard("m", made, config(optional_sources=("mail",)), store).fresh


def test_a_corpus_that_another_must_not_hold_is_no_source_of_it(store: Store) -> None:
    rows = [document("books", text) for text in TEXTS]
    made = {"library": corpus(store, "library", rows, sources=("books", "heldout:exams"))}
    assert shard("m", made, config(), store).fresh


def test_corpora_stand_apart_with_their_weights(store: Store, corpora: Mapping[str, Manifest]) -> None:
    other = corpus(store, "notes", [document("notes", text.upper()) for text in TEXTS], ("notes",))
    shares = config(CorpusShare(corpus="library"), CorpusShare(corpus="notes", weight=3))
    folder = store.open(shard("m", {**corpora, "notes": other}, shares, store).manifest)
    first, second = open_shards(folder).corpora
    assert (first.first_sequence, second.first_sequence) == (0, first.num_sequences)
    assert (first.weight, second.weight) == (1, 3)
    rows = pq.read_table(folder / "documents.parquet").to_pylist()
    assert {row["source"] for row in rows if row["corpus"] == "notes"} == {"notes"}


def test_a_flipped_byte_in_the_corpus_is_named_and_nothing_is_published(
    store: Store, corpora: Mapping[str, Manifest]
) -> None:
    path = Path(store.address_of(corpora["library"])) / "train.parquet"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train\.parquet does not match its SHA-256"):
        shard("m", corpora, config(), store)
    assert list(store.manifests(kind="tokenized_shards")) == []
