"""What became of a document on its way into a training: consumed at which steps, held out, rejected, or a copy."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from forge_pipelines.corpus.membership import CLUSTERS
from forge_pipelines.corpus.reading import REJECTIONS, TABLE, source_fingerprints
from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import Manifest
from forge_pipelines.training.consumption import Consumption, Reading, among, rows_where, stored

_DOC_ID = re.compile(r"[0-9a-f]{8,64}")
_SHOWN_ID_DIGITS = 12
_NAMED_AT_MOST = 5
_MASKED = "masked in the shards: it has been taken back, and padding was read in its place"


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What became of a document in one corpus, or in its source where no corpus was given it.

    Attributes:
        place: ``corpus library`` or ``source handbook``.
        uri: where it stands in its source; None where its corpus is no longer in the store.
        reason: why no step read it, in words; empty where one did.
        readings: what was read of it, in the order of samples; of a copy, nothing.
        survivor: what became of the document that stands for it, where it is a copy.
    """

    place: str
    doc_id: str
    source: str
    uri: str | None
    reason: str = ""
    readings: tuple[Reading, ...] = ()
    survivor: "Whereabouts | None" = None

    @property
    def title(self) -> str:
        """How people call the document."""
        where = self.source if self.uri is None else f"{self.source}: {self.uri}"
        return f"{where} ({self.doc_id[:_SHOWN_ID_DIGITS]})"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A document as it is asked for: by the first digits of its ``doc_id``, or by its ``uri``."""

    text: str
    column: str

    def __call__(self, table: pa.Table) -> Any:
        if self.column == "doc_id":
            return pc.starts_with(table["doc_id"], pattern=self.text)
        return pc.equal(table["uri"], self.text)


def find_document(consumption: Consumption, wanted: str) -> list[Whereabouts]:
    """Return what became of a document in each corpus of the model that was given it, or else in its source.

    Args:
        consumption: what the training consumed.
        wanted: a ``doc_id``, at least 8 digits of its beginning, or a ``uri``.

    Raises:
        ConfigError: several documents are called so.
        DataError: no corpus of the model was given it, and no source of theirs rejected it; or one is damaged.
    """
    for asked in _readings_of(wanted):
        found = [*_in_corpora(consumption, asked)] or [*_in_sources(consumption, asked)]
        others = {each.doc_id: each for each in found}
        if len(others) > 1:
            raise ConfigError(_ambiguous(wanted, asked, [*others.values()]))
        if found:
            return found
    raise DataError(_unknown(consumption, wanted))


def _readings_of(wanted: str) -> Iterator[_Wanted]:
    if _DOC_ID.fullmatch(wanted.lower()):
        yield _Wanted(wanted.lower(), "doc_id")
    yield _Wanted(wanted, "uri")


def _in_corpora(consumption: Consumption, wanted: _Wanted) -> Iterator[Whereabouts]:
    for name, made in consumption.corpora.items():
        if made is not None:
            yield from _in_corpus(consumption, made, wanted)
        elif wanted.column == "doc_id":
            yield from _trained(consumption, name, consumption.ids_in(name, wanted))


def _in_corpus(consumption: Consumption, made: Manifest, wanted: _Wanted) -> Iterator[Whereabouts]:
    files, place = consumption.files_of(made, TABLE, REJECTIONS, CLUSTERS), f"corpus {made.name}"
    kept = [*rows_where(files[TABLE], wanted, ("doc_id", "source", "uri", "split"))] if TABLE in files else []
    yield from _trained(consumption, made.name, [row["doc_id"] for row in kept if row["split"] == "train"])
    for row in kept:
        if row["split"] == "heldout":
            reason = f"held out of {place}, so that a model can be measured on it"
            yield Whereabouts(place, row["doc_id"], row["source"], row["uri"], reason)
    rejected = [*rows_where(files[REJECTIONS], wanted)] if REJECTIONS in files else []
    copies = _copies(files, {row["doc_id"] for row in rejected})
    for row in rejected:
        if row["doc_id"] not in copies:
            yield _rejected(place, row)
            continue
        survivor = next(_in_corpus(consumption, made, _Wanted(copies[row["doc_id"]]["survivor"], "doc_id")))
        alike = f"Jaccard similarity {copies[row['doc_id']]['jaccard']:.2f}"
        reason = f"a copy of {survivor.title}, {alike}, which stands for it in {place}"
        yield Whereabouts(place, row["doc_id"], row["source"], row["uri"], reason, survivor=survivor)


def _copies(files: Mapping[str, Any], doc_ids: set[str]) -> Mapping[str, Mapping[str, Any]]:
    """Return the rows of those documents that another one stands for."""
    if CLUSTERS not in files or not doc_ids:
        return {}
    rows = rows_where(files[CLUSTERS], among("doc_id", doc_ids))
    return {row["doc_id"]: row for row in rows if row["survivor"] != row["doc_id"]}


def _trained(consumption: Consumption, corpus: str, doc_ids: list[str]) -> Iterator[Whereabouts]:
    for each in consumption.of_documents(doc_ids, corpus) if doc_ids else ():
        unread = _MASKED if each.masked else _unread(consumption, corpus)
        reason = "" if each.readings else unread
        yield Whereabouts(f"corpus {corpus}", each.doc_id, each.source, each.uri, reason, each.readings)


def _unread(consumption: Consumption, corpus: str) -> str:
    skipped = len(consumption.skipped_batches)
    but = f", of which {skipped} batches were skipped" if skipped else ""
    return (
        f"in the training part of corpus {corpus}, but none of its sequences had their turn: an epoch has "
        f"{consumption.order.num_sequences:,} samples, and training came past {consumption.num_samples:,}{but}"
    )


def _in_sources(consumption: Consumption, wanted: _Wanted) -> Iterator[Whereabouts]:
    sources = {
        (name, fingerprint)
        for made in consumption.corpora.values()
        for name, fingerprint in (source_fingerprints(made).items() if made else ())
    }
    for name, fingerprint in sorted(sources):
        source = stored(consumption.store, name, "raw_documents", fingerprint)
        for path in consumption.files_of(source, REJECTIONS).values() if source else ():
            yield from (_rejected(f"source {name}", row) for row in rows_where(path, wanted))


def _rejected(place: str, row: Mapping[str, Any]) -> Whereabouts:
    reason = f"rejected in {place} by the rule {row['rule']}: {row['reason']}"
    return Whereabouts(place, row["doc_id"], row["source"], row["uri"], reason)


def _ambiguous(wanted: str, asked: _Wanted, found: list[Whereabouts]) -> str:
    named = ", ".join(each.title for each in found[:_NAMED_AT_MOST])
    more = f" and {len(found) - _NAMED_AT_MOST} more" if len(found) > _NAMED_AT_MOST else ""
    advice = "write more digits" if asked.column == "doc_id" else "write the digits of one of them"
    return f"{wanted} is {len(found)} documents: {named}{more}; {advice}"


def _unknown(consumption: Consumption, wanted: str) -> str:
    gone = [name for name, made in consumption.corpora.items() if made is None]
    lost = f" (what {_listed(gone)} rejected or held out is no longer in the store)" if gone else ""
    return (
        f"{consumption.model} was not trained on {wanted}: it is in none of its corpora, {_listed(consumption.corpora)}"
        f"{lost}; write a doc_id, at least 8 digits of its beginning, or a uri, as `forge documents` shows it"
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
