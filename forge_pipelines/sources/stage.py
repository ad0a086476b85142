"""The stage `raw_documents`: every item of a source becomes a document or a rejection."""

from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forge_pipelines.errors import DataError
from forge_pipelines.manifest import Document, Rejection, StageRequest, code_version
from forge_pipelines.pictures import LENGTHS_PICTURE, draw_lengths
from forge_pipelines.progress import OnProgress, Progress, silent
from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.sources.folder import Folder
from forge_pipelines.sources.guarded.crew import read_guarded
from forge_pipelines.sources.guarded.frames import Answer
from forge_pipelines.sources.identity import document, rejection
from forge_pipelines.sources.place import Item, ItemError, Listing, Place, Refusal
from forge_pipelines.sources.readers import registry
from forge_pipelines.store import Made, Publication, Store
from forge_pipelines.tables import documents_writer, rejections_writer

CODE_VERSION = f"2+readers-{registry.READERS_VERSION}"
KIND = "raw_documents"
DOCUMENTS = "documents.parquet"
REJECTIONS = "rejections.parquet"
_REPORT_EVERY_FILES = 50


class _ItemsMovedError(Exception):
    def __init__(self, refusals: dict[str, Refusal]) -> None:
        super().__init__(", ".join(refusals))
        self.refusals = refusals


@dataclass(slots=True)
class _Tally:
    num_bytes: int = 0
    lengths: "array[int]" = field(default_factory=lambda: array("q"))
    media_types: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    first_rejected: dict[str, Rejection] = field(default_factory=dict)

    def add(self, row: Document | Rejection) -> None:
        if isinstance(row, Document):
            self.lengths.append(len(row.text))
            self.media_types[row.media_type] += 1
            self.languages[row.language or "unknown"] += 1
        else:
            self.rules[row.rule] += 1
            self.first_rejected.setdefault(row.rule, row)

    def counts(self, listing: Listing) -> dict[str, Any]:
        return {
            "files": len(listing.items),
            "documents": self.media_types.total(),
            "rejected": self.rules.total(),
            "rejected_by_rule": dict(self.rules),
            "bytes": self.num_bytes,
            "characters": sum(self.lengths),
            "by_media_type": dict(self.media_types),
            "by_language": dict(self.languages),
            "skipped_hidden": listing.skipped_hidden,
            "skipped_links": listing.skipped_links,
        }


def read_source(config: SourceConfig, store: Store, on_progress: OnProgress = silent) -> Publication:
    """Publish a source's documents, or find them published: the same contents are the same, wherever they stand.

    A file that changes or vanishes between listing and reading is rejected in this publication, which is then told
    apart from one that holds the file: the next call reads it.

    Raises:
        ConfigError: there is no such folder.
        DataError: no file matches the patterns, or every file was rejected; nothing is published.
    """
    place = Folder(config.folder, config.max_file_bytes)
    listing = place.list_items(on_progress)
    if not listing.items:
        patterns = ", ".join(config.folder.include)
        raise DataError(f"source {config.name}: no file in {place.address} matches {patterns}; check `folder.include`")
    while True:
        try:
            return store.obtain(_request(config, listing), _Maker(config, place, listing, on_progress))
        except _ItemsMovedError as moved:
            listing = listing.refusing(moved.refusals)


def _request(config: SourceConfig, listing: Listing) -> StageRequest:
    return StageRequest(
        kind=KIND,
        name=config.name,
        inputs={"listing": listing.fingerprint},
        parameters=config.model_dump(mode="json", include={"labels", "reading"}),
        code_version=code_version(CODE_VERSION, *registry.LIBRARIES, "py3langid"),
    )


@dataclass(frozen=True, slots=True)
class _Maker:
    config: SourceConfig
    place: Place
    listing: Listing
    on_progress: OnProgress

    def __call__(self, folder: Path) -> Made:
        tally = _Tally()
        moved: dict[str, Refusal] = {}
        total = len(self.listing.items)
        with (
            documents_writer(folder / DOCUMENTS) as documents,
            rejections_writer(folder / REJECTIONS) as rejections,
            closing(read_guarded(self._contents(tally, moved), self.config.reading)) as answers,
        ):
            for done, (item, answer) in enumerate(zip(self.listing.items, answers, strict=True), 1):
                row = self._row(item, answer)
                tally.add(row)
                (documents if isinstance(row, Document) else rejections).add(row)
                if done % _REPORT_EVERY_FILES == 0 or done == total:
                    self.on_progress(Progress(f"{self.config.name}: reading", done, total, "files"))
        if moved:
            raise _ItemsMovedError(moved)
        if not tally.media_types:
            raise DataError(self._all_rejected(tally))
        (folder / LENGTHS_PICTURE).write_bytes(draw_lengths(tally.lengths))
        return Made(tally.counts(self.listing), self.config.labels.classification)

    def _contents(self, tally: _Tally, moved: dict[str, Refusal]) -> Iterator[bytes | Refusal]:
        for item in self.listing.items:
            if item.refusal is not None:
                yield item.refusal
                continue
            try:
                content = self.place.read(item)
            except ItemError as refused:
                moved[item.path] = refused.refusal
                yield refused.refusal
            else:
                tally.num_bytes += len(content)
                yield content

    def _row(self, item: Item, answer: Answer) -> Document | Rejection:
        if isinstance(answer, Refusal):
            return rejection(self.config, item, answer)
        try:
            return document(self.config, item, answer)
        except ItemError as refused:
            return rejection(self.config, item, refused.refusal)

    def _all_rejected(self, tally: _Tally) -> str:
        rule, count = tally.rules.most_common(1)[0]
        example = tally.first_rejected[rule]
        total = len(self.listing.items)
        most = "all" if count == total else f"{count:,}"
        return (
            f"source {self.config.name}: every one of its {total:,} files was rejected, {most} by the rule «{rule}», "
            f"for example {example.uri}, which {example.reason}; nothing was published"
        )
