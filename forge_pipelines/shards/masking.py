"""Shards without some of their documents: the same rows in the same order, with a hole where each of them stood.

In a hole, a sequence's ids are padding and its labels none; positions stay, so that all else stands, and is attended
to, as before. A pair that is masked has padding for a prompt and for both answers: answers that are equal teach
nothing. So no other sample changes, and training on the masked shards equals training on the first ones until it meets
a masked document.
"""

import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forge_pipelines.errors import DataError
from forge_pipelines.manifest import Manifest, StageRequest
from forge_pipelines.places import MANIFEST
from forge_pipelines.shards.packing import NOT_A_LABEL
from forge_pipelines.shards.reading import DOCUMENTS, SEQUENCES, SPANS, TOKENIZER
from forge_pipelines.shards.tokenizer import read_document_tokens
from forge_pipelines.store import Made, Publication, Store

MASKED = "masked"
"""The column of `DOCUMENTS` that says which documents are; shards in which none is do not have it."""

_CODE_VERSION = "+masking-1"
_UNMASKED = "unmasked"
_TEXTS = "masked_texts"
_MOST_NAMED, _SHOWN_DIGITS = 3, 12


@dataclass(frozen=True, slots=True)
class _Holes:
    """Where masked documents stand: columns of `SPANS`, sorted by sequence, shape (n,); and what fills them."""

    sequences: NDArray[np.int64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    pad_id: int

    def within(self, first: int, num_rows: int) -> "_Holes":
        """Return those in some rows, counted from the first of these."""
        some = slice(*np.searchsorted(self.sequences, (first, first + num_rows)))
        return _Holes(self.sequences[some] - first, self.starts[some], self.lengths[some], self.pad_id)


@dataclass(slots=True)
class _Rest:
    """What is left, in numbers, and which documents are masked."""

    texts: set[str] = field(default_factory=set)
    doc_indices: list[int] = field(default_factory=list)
    documents: int = 0
    tokens: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, table: pa.Table) -> None:
        """Count some rows of `DOCUMENTS`, in which `MASKED` is filled in."""
        masked = table.filter(table[MASKED])
        self.texts.update(masked["text_sha256"].to_pylist())
        self.doc_indices += masked["doc_index"].to_pylist()
        left = table.filter(pc.invert(table[MASKED]))
        self.documents += len(left)
        self.tokens += pc.sum(left["num_tokens"]).as_py() or 0
        for row in table.group_by("source").aggregate([("num_labels", "sum")]).to_pylist():
            self.labels[row["source"]] += row["num_labels_sum"]

    def counts(self) -> Mapping[str, Any]:
        """Return what a manifest counts; a source of which nothing is learned any more has zero."""
        return {
            "documents": self.documents,
            "tokens": self.tokens,
            "trainable_tokens": sum(self.labels.values()),
            "trainable_tokens_by_source": dict(sorted(self.labels.items())),
            "masked_documents": len(self.doc_indices),
        }


def mask(shards: Manifest, texts: Collection[str], store: Store) -> Publication:
    """Publish shards again without what some documents say. What was masked in them before stays so.

    Args:
        shards: of texts, chats or preferences.
        texts: the documents' ``text_sha256``; all that have the same text are masked.

    Raises:
        DataError: the shards do not hold one of the texts, or nothing to learn from is left; or they are damaged.
    """
    wanted = sorted({*masked_texts(shards), *texts})
    request = StageRequest(
        kind=shards.kind,
        name=shards.name,
        inputs={**shards.inputs, _UNMASKED: shards.fingerprint},
        parameters={**shards.parameters, _TEXTS: wanted},
        code_version=shards.code_version.removesuffix(_CODE_VERSION) + _CODE_VERSION,
    )

    def make(folder: Path) -> Made:
        rest = _write_masked(store.open(shards), folder, wanted)
        title, strange = f"the shards of {shards.name}", sorted({*wanted} - rest.texts)
        if strange:
            raise DataError(f"{title} hold no document with {_named(strange)}; look at how it is spelt")
        if not rest.labels.total():
            raise DataError(
                f"{title} hold nothing to learn from without {_named(wanted)}; mask fewer, or add documents"
            )
        return Made({**shards.counts, **rest.counts()}, shards.classification)

    return store.obtain(request, make)


def masked_texts(shards: Manifest) -> frozenset[str]:
    """Return the ``text_sha256`` of all documents that are masked in shards."""
    return frozenset(shards.parameters.get(_TEXTS, ()))


def key_unmasked(shards: Manifest) -> str:
    """Return the key of the shards from which some came by masking: their own, where nothing is masked in them."""
    return StageRequest(
        kind=shards.kind,
        name=shards.name,
        inputs={role: made for role, made in shards.inputs.items() if role != _UNMASKED},
        parameters={name: value for name, value in shards.parameters.items() if name != _TEXTS},
        code_version=shards.code_version.removesuffix(_CODE_VERSION),
    ).key


def _named(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
    return f"the text {', '.join(text[:_SHOWN_DIGITS] for text in texts[:_MOST_NAMED])}{more}"


def _write_masked(source: Path, folder: Path, texts: Sequence[str]) -> _Rest:
    shutil.copytree(source, folder, dirs_exist_ok=True, ignore=_changed_or_manifest)
    rest = _write_documents(source / DOCUMENTS, folder / DOCUMENTS, texts)
    holes = _find_holes(source / SPANS, rest.doc_indices, read_document_tokens(source / TOKENIZER).pad)
    _write_sequences(source / SEQUENCES, folder / SEQUENCES, holes)
    return rest


def _changed_or_manifest(_folder: str, names: Sequence[str]) -> set[str]:
    return {SEQUENCES, DOCUMENTS, MANIFEST}.intersection(names)


def _write_documents(source: Path, target: Path, texts: Sequence[str]) -> _Rest:
    """Write the table of documents a row group at a time, and return what is left."""
    rest, wanted = _Rest(), pa.array(texts, pa.string())
    with pq.ParquetFile(source) as file:
        schema = file.schema_arrow
        if MASKED not in schema.names:
            schema = schema.append(pa.field(MASKED, pa.bool_()))
        with pq.ParquetWriter(target, schema, compression="zstd") as writer:
            for group in range(file.num_row_groups):
                table = _marked(file.read_row_group(group), wanted).cast(schema)
                rest.add(table)
                writer.write_table(table)
    return rest


def _marked(table: pa.Table, texts: pa.Array) -> pa.Table:
    masked = pc.is_in(table["text_sha256"], value_set=texts)
    labels = pc.if_else(masked, pa.scalar(0, pa.int32()), table["num_labels"])
    table = table.set_column(table.column_names.index("num_labels"), "num_labels", labels)
    return (table.drop_columns([MASKED]) if MASKED in table.column_names else table).append_column(MASKED, masked)


def _find_holes(path: Path, doc_indices: Sequence[int], pad_id: int) -> _Holes:
    columns = ("sequence", "start", "length")
    wanted = pa.array(doc_indices, pa.int32())
    found = []
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            spans = file.read_row_group(group)
            found.append(spans.filter(pc.is_in(spans["doc_index"], value_set=wanted)).select(columns))
    spans = pa.concat_tables(found).sort_by("sequence")
    sequences, starts, lengths = (spans[name].to_numpy().astype(np.int64) for name in columns)
    return _Holes(sequences, starts, lengths, pad_id)


def _write_sequences(source: Path, target: Path, holes: _Holes) -> None:
    first = 0
    with pa.memory_map(str(source)) as file, pa.ipc.open_stream(file) as reader:
        write = _with_holes if "input_ids" in reader.schema.names else _without_pairs
        with pa.ipc.new_stream(str(target), reader.schema) as writer:
            for batch in reader:
                own = holes.within(first, len(batch))
                writer.write_batch(write(batch, own) if len(own.sequences) else batch)
                first += len(batch)


def _with_holes(batch: pa.RecordBatch, holes: _Holes) -> pa.RecordBatch:
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    for name, fill in (("input_ids", holes.pad_id), ("labels", NOT_A_LABEL)):
        length = columns[name].type.list_size
        values = columns[name].flatten().to_numpy().reshape(-1, length).copy()
        for sequence, start, tokens in zip(holes.sequences, holes.starts, holes.lengths, strict=True):
            values[sequence, start : start + tokens] = fill
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), length)
    return pa.record_batch([*columns.values()], schema=batch.schema)


def _without_pairs(batch: pa.RecordBatch, holes: _Holes) -> pa.RecordBatch:
    rows = {name: column.to_pylist() for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    for values in rows.values():
        for sequence in holes.sequences.tolist():
            values[sequence] = [holes.pad_id]
    return pa.record_batch([pa.array(rows[field.name], field.type) for field in batch.schema], schema=batch.schema)
