"""The stage `tokenized_shards`: corpora and their weights in, packed sequences and their spans out."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tokenizers import Tokenizer

from forge_pipelines.bases.stage import ROLE
from forge_pipelines.corpus.reading import read_train, source_fingerprints
from forge_pipelines.errors import DataError
from forge_pipelines.manifest import Classification, Document, Manifest, StageRequest, code_version
from forge_pipelines.progress import OnProgress, Progress, silent
from forge_pipelines.shards.config import ShardsConfig
from forge_pipelines.shards.order import CorpusRange
from forge_pipelines.shards.packing import Packer
from forge_pipelines.shards.reading import CORPORA, DOCUMENTS, SEQUENCES, SPANS, TOKENIZER
from forge_pipelines.shards.tokenizer import (
    DocumentTokens,
    read_document_tokens,
    save_tokenizer,
    take_tokenizer,
    train_tokenizer,
)
from forge_pipelines.store import Made, Publication, Store

CODE_VERSION = "2"
_BATCH_DOCUMENTS = 256

DOCUMENT_COLUMNS = pa.schema(
    [
        ("doc_index", pa.int32()),
        ("doc_id", pa.string()),
        ("text_sha256", pa.string()),
        ("corpus", pa.string()),
        ("source", pa.string()),
        ("num_tokens", pa.int32()),
        ("num_labels", pa.int32()),
    ]
)


@dataclass(slots=True)
class _Contents:
    """What stands in the shards: a row a document, and a range a corpus."""

    documents: list[dict[str, Any]] = field(default_factory=list)
    corpora: list[CorpusRange] = field(default_factory=list)

    def labels_by_source(self) -> dict[str, int]:
        totals: Counter[str] = Counter()
        for document in self.documents:
            totals[document["source"]] += document["num_labels"]
        return dict(sorted(totals.items()))


def shard(
    name: str,
    corpora: Mapping[str, Manifest],
    config: ShardsConfig,
    store: Store,
    on_progress: OnProgress = silent,
    base: Manifest | None = None,
) -> Publication:
    """Pack the corpora's training documents into sequences of token ids.

    Args:
        name: the model's name.
        corpora: manifests of the corpora that ``config`` names, by name.
        base: the open model whose tokenizer is used; without one, a tokenizer is trained on the documents.

    Raises:
        DataError: a source contributes no trainable token and is not listed as optional; or a corpus is damaged.
    """
    request = StageRequest(
        kind="tokenized_shards",
        name=name,
        inputs={
            **{f"corpus:{share.corpus}": corpora[share.corpus].fingerprint for share in config.corpora},
            **({f"{ROLE}{base.name}": base.fingerprint} if base else {}),
        },
        parameters=config.model_dump(mode="json", exclude={"tokenizer"} if base else set()),
        code_version=code_version(CODE_VERSION, "tokenizers"),
    )

    def make(folder: Path) -> Made:
        opened = {share.corpus: store.open(corpora[share.corpus]) for share in config.corpora}
        if base:
            tokenizer = take_tokenizer(store.open(base), folder / TOKENIZER)
        else:
            tokenizer = _learn_tokenizer(name, config, opened, on_progress)
            save_tokenizer(tokenizer, folder / TOKENIZER, config.sequence_length)
        contents = _pack(name, config, corpora, opened, tokenizer, folder, on_progress)
        labels = contents.labels_by_source()
        _refuse_empty_sources(name, labels, corpora, config)
        return Made(
            counts={
                "sequences": sum(corpus.num_sequences for corpus in contents.corpora),
                "documents": len(contents.documents),
                "tokens": sum(document["num_tokens"] for document in contents.documents),
                "trainable_tokens": sum(labels.values()),
                "trainable_tokens_by_source": labels,
                "vocabulary": tokenizer.get_vocab_size(),
                "sequence_length": config.sequence_length,
            },
            classification=Classification.strictest(
                made.classification for made in (*corpora.values(), *([base] if base else []))
            ),
        )

    return store.obtain(request, make)


def _learn_tokenizer(name: str, config: ShardsConfig, opened: Mapping[str, Path], on_progress: OnProgress) -> Tokenizer:
    on_progress(Progress(f"{name}: learning a vocabulary of {config.tokenizer.vocabulary_size} tokens"))
    texts = (document.text for folder in opened.values() for document in read_train(folder))
    return train_tokenizer(texts, config.tokenizer)


def _pack(
    name: str,
    config: ShardsConfig,
    corpora: Mapping[str, Manifest],
    opened: Mapping[str, Path],
    tokenizer: Tokenizer,
    folder: Path,
    on_progress: OnProgress,
) -> _Contents:
    contents = _Contents()
    total = sum(int(corpora[share.corpus].counts["train"]) for share in config.corpora)
    marks = read_document_tokens(folder / TOKENIZER)
    with Packer(folder / SEQUENCES, config.sequence_length, marks.pad) as packer:
        for share in config.corpora:
            first = packer.num_sequences
            for batch in _batches(read_train(opened[share.corpus])):
                rows = _encode(batch, tokenizer, marks)
                contents.documents += _pack_batch(rows, share.corpus, len(contents.documents), packer)
                on_progress(Progress(f"{name}: packing", len(contents.documents), total, "documents"))
            packer.finish_sequence()
            if packer.num_sequences == first:
                raise DataError(f"corpus {share.corpus} gives {name} no trainable token; look at what it rejected")
            manifest = corpora[share.corpus]
            contents.corpora.append(
                CorpusRange(
                    corpus=share.corpus,
                    fingerprint=manifest.fingerprint,
                    weight=share.weight,
                    first_sequence=first,
                    num_sequences=packer.num_sequences - first,
                )
            )
    packer.write_spans(folder / SPANS)
    pq.write_table(pa.Table.from_pylist(contents.documents, DOCUMENT_COLUMNS), folder / DOCUMENTS, compression="zstd")
    (folder / CORPORA).write_text(json.dumps([corpus.model_dump() for corpus in contents.corpora], indent=2) + "\n")
    return contents


def _encode(
    batch: Sequence[Document], tokenizer: Tokenizer, marks: DocumentTokens
) -> Iterator[tuple[Document, NDArray[np.int32]]]:
    """Yield each document with its token ids, shape (n,), the marks of beginning and end included."""
    tokenizer.encode_special_tokens = True  # a document that quotes «</s>» does not end there
    encodings = tokenizer.encode_batch_fast([document.text for document in batch], add_special_tokens=False)
    for document, encoding in zip(batch, encodings, strict=True):
        yield document, np.array([marks.begin, *encoding.ids, marks.end], dtype=np.int32)


def _pack_batch(
    rows: Iterator[tuple[Document, NDArray[np.int32]]], corpus: str, first_index: int, packer: Packer
) -> Iterator[dict[str, Any]]:
    for doc_index, (document, ids) in enumerate(rows, first_index):
        yield {
            "doc_index": doc_index,
            "doc_id": document.doc_id,
            "text_sha256": document.text_sha256,
            "corpus": corpus,
            "source": document.source,
            "num_tokens": len(ids),
            "num_labels": packer.add(doc_index, ids),
        }


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    while batch := list(islice(documents, _BATCH_DOCUMENTS)):
        yield batch


def _refuse_empty_sources(
    name: str, labels: Mapping[str, int], corpora: Mapping[str, Manifest], config: ShardsConfig
) -> None:
    sources = {source for corpus in corpora.values() for source in source_fingerprints(corpus)}
    empty = sorted(source for source in sources - set(config.optional_sources) if not labels.get(source))
    if empty:
        message = (
            f"source {empty[0]} contributes no trainable token to {name}; look at what its corpus rejected, or list "
            "it under shards.optional_sources"
        )
        raise DataError(message)
