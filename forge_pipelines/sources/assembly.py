"""From what a survey found to the files of a publication: a document or a rejection for every part of every item."""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from forge_pipelines.columns import characters_of
from forge_pipelines.engine.local import LocalEngine
from forge_pipelines.errors import DataError
from forge_pipelines.manifest import Classification, Document, Rejection
from forge_pipelines.pictures import LENGTHS_PICTURE
from forge_pipelines.progress import Progress
from forge_pipelines.sources.drawing import drawing
from forge_pipelines.sources.identity import Identities
from forge_pipelines.sources.labelling import Labelling
from forge_pipelines.sources.plain import PlainFiles
from forge_pipelines.sources.survey import Survey, read_found
from forge_pipelines.store import Made
from forge_pipelines.tables import documents_writer, rejections_writer

DOCUMENTS = "documents.parquet"
REJECTIONS = "rejections.parquet"
_REPORT_EVERY_ITEMS = 200
_FEW_ITEMS = 4096
"""A source of fewer is written sooner than a process that draws is ready."""


@dataclass(slots=True)
class _Tally:
    num_bytes: int = 0
    lengths: "array[int]" = field(default_factory=lambda: array("q"))
    num_from_others: int = 0
    num_expiring: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    media_types: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    classifications: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    first_rejected: dict[str, Rejection] = field(default_factory=dict)

    def add(self, row: Document | Rejection) -> None:
        if isinstance(row, Document):
            self.lengths.append(len(row.text))
            self.num_from_others += row.parent_id is not None
            self.num_expiring += row.expires_at is not None
            self.kinds[row.kind] += 1
            self.media_types[row.media_type] += 1
            self.languages[row.language or "unknown"] += 1
            self.classifications[row.classification] += 1
        else:
            self.rules[row.rule] += 1
            self.first_rejected.setdefault(row.rule, row)

    def add_documents(self, documents: pa.Table) -> None:
        """Count documents, `DOCUMENT_SCHEMA` of `columns`."""
        self.lengths.extend(characters_of(documents).tolist())
        self.num_from_others += len(documents) - documents.column("parent_id").null_count
        self.num_expiring += len(documents) - documents.column("expires_at").null_count
        self.kinds.update(documents.column("kind").to_pylist())
        self.media_types.update(documents.column("media_type").to_pylist())
        self.languages.update(language or "unknown" for language in documents.column("language").to_pylist())
        self.classifications.update(documents.column("classification").to_pylist())

    def counts(self, survey: Survey) -> dict[str, Any]:
        return {
            "files": survey.num_items,
            "documents": self.media_types.total(),
            "rejected": self.rules.total(),
            "rejected_by_rule": dict(self.rules),
            "bytes": self.num_bytes,
            "characters": sum(self.lengths),
            "from_other_files": self.num_from_others,
            "expiring": self.num_expiring,
            "by_kind": dict(self.kinds),
            "by_media_type": dict(self.media_types),
            "by_language": dict(self.languages),
            "by_classification": dict(self.classifications),
            "skipped_hidden": survey.place.num_skipped_hidden,
            "skipped_links": survey.place.num_skipped_links,
        }


def assemble(survey: Survey, folder: Path) -> Made:
    """Write documents and rejections, in the order of the survey.

    Raises:
        DataError: everything was rejected.
        ForgottenError: a reading is known no more.
    """
    tally = _Tally()
    with LocalEngine().aside(drawing(), here=survey.num_items < _FEW_ITEMS) as draw:
        with documents_writer(folder / DOCUMENTS) as documents, rejections_writer(folder / REJECTIONS) as rejections:
            for rows in _rows(survey, tally):
                if isinstance(rows, pa.Table):
                    tally.add_documents(rows)
                    documents.add_documents(rows)
                else:
                    tally.add(rows)
                    (documents if isinstance(rows, Document) else rejections).add(rows)
        if not tally.media_types:
            raise DataError(_all_rejected(survey, tally))
        (folder / LENGTHS_PICTURE).write_bytes(draw(tally.lengths))
    return Made(tally.counts(survey), Classification.strictest(tally.classifications))


def _rows(survey: Survey, tally: _Tally) -> Iterator[pa.Table | Document | Rejection]:
    labelling = Labelling(survey.config.labels)
    identities = Identities(survey.config.name, labelling)
    plain = PlainFiles(survey.config.name, labelling, survey.readings)
    for done, found in enumerate(read_found(survey.found), 1):
        tally.num_bytes += found.num_bytes
        is_plain = plain.add(found)
        if plain.is_full or not is_plain:
            yield plain.take()
        if found.refusal is not None:
            yield identities.refused(found.path, found.refusal)
        elif not is_plain:
            yield from identities.rows(found, survey.readings.parts(found.sha256))
        if done % _REPORT_EVERY_ITEMS == 0 or done == survey.num_items:
            survey.on_progress(Progress(f"{survey.config.name}: writing", done, survey.num_items, "files"))
    yield plain.take()


def _all_rejected(survey: Survey, tally: _Tally) -> str:
    rule, count = tally.rules.most_common(1)[0]
    example = tally.first_rejected[rule]
    total = tally.rules.total()
    most = "all" if count == total else f"{count:,}"
    return (
        f"source {survey.config.name}: every one of its {total:,} files was rejected, {most} by the rule «{rule}», "
        f"for example {example.uri}, which {example.reason}; nothing was published"
    )
