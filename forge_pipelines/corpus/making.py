"""How a corpus is made of its sources' documents: one pass that cleans each, one that compares all, one that writes."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from forge_pipelines.corpus.cleaning import CleaningJob, cleaning, line_hashing
from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.data_docs import write_data_docs
from forge_pipelines.corpus.duplicates import drop_duplicates
from forge_pipelines.corpus.expectations import build, hold
from forge_pipelines.corpus.fates import FateTable
from forge_pipelines.corpus.grouping import read_groups, write_groups
from forge_pipelines.corpus.keys import Keys, fate_keys, line_keys
from forge_pipelines.corpus.membership import CLUSTERS
from forge_pipelines.corpus.near_duplicates import NearDuplicates, Resolution
from forge_pipelines.corpus.page import PAGE, render_page
from forge_pipelines.corpus.reading import DATA_DOCS, EXPECTATIONS, HELDOUT, REJECTIONS, TABLE, TRAIN, read_lengths
from forge_pipelines.corpus.remembered import Remembered, map_remembered
from forge_pipelines.corpus.repeated_lines import (
    Hashes,
    LineCounts,
    LineTable,
    RepeatedLines,
    RepeatedLinesRule,
)
from forge_pipelines.corpus.sketches import Sketch
from forge_pipelines.corpus.table import TableFile
from forge_pipelines.corpus.tally import Tally
from forge_pipelines.engine.work import Engine
from forge_pipelines.manifest import Classification, Document, Manifest, digest
from forge_pipelines.pictures import LENGTHS_PICTURE, draw_lengths
from forge_pipelines.progress import OnProgress, Progress
from forge_pipelines.store import Made, Store
from forge_pipelines.tables import TableWriter, documents_writer, read_documents, rejections_writer

DOCUMENTS = "documents.parquet"
_BATCH_DOCUMENTS = 256
_BATCH_CHARACTERS = 2 << 20
_SECONDS_BETWEEN_REPORTS = 0.5


@dataclass(slots=True)
class Making:
    """Makes a corpus in a folder: cleans, compares, splits, writes, and holds the result to its expectations.

    Attributes:
        code_version: that of the request.
        files: the hashes of the files of the site's own that shape the corpus.
        memory: a folder in which it may be remembered, for no other run meanwhile.
        expired_by: the last day on which any document has expired, see `terms.last_expiry`.
    """

    config: CorpusConfig
    sources: Sequence[Manifest]
    held_out: Sequence[Manifest]
    store: Store
    engine: Engine
    on_progress: OnProgress
    code_version: str
    files: Mapping[str, str]
    memory: Path
    expired_by: date | None
    _doing: str = ""
    _reported: float = 0.0

    def __call__(self, folder: Path) -> Made:
        """Write the corpus's files.

        Raises:
            ConfigError, DataError: see `stage.validate`.
        """
        self._report("preparing expectations", 0)
        # Wrong arguments are found here, before the first document is read.
        expectations = build(self.config)
        tally = Tally(self.config.name, self.config.sources)
        with TemporaryDirectory(dir=folder) as scratch, rejections_writer(folder / REJECTIONS) as rejections:
            numbers = self._sort_out(Path(scratch), folder, tally, rejections)
        tally.require_enough(self.config.contributions)
        self._report("holding to expectations", self._total)
        warnings = self._hold(expectations, folder, tally)
        lengths = draw_lengths(read_lengths(folder))
        (folder / LENGTHS_PICTURE).write_bytes(lengths)
        classification = Classification.strictest(each.classification for each in (*self.sources, *self.held_out))
        page = render_page(self.config.name, classification.value, tally, numbers, lengths, warnings)
        (folder / PAGE).write_text(page)
        return Made({**tally.counts(), **numbers, "warnings": len(warnings)}, classification)

    def _sort_out(self, scratch: Path, folder: Path, tally: Tally, rejections: TableWriter) -> Mapping[str, Any]:
        """Clean all documents, and write those that are kept; return what there is to say of near-copies."""
        groups = scratch / "groups"
        groups.mkdir()
        preference = {source: place for place, source in enumerate(self.config.sources)}
        with NearDuplicates(self.config.near_duplicates, self.config.split, preference, scratch) as near:
            write_groups(self._cleaned(scratch, near, tally, rejections), groups)
            resolution = near.resolve(partial(self._report, "comparing"))
            self._write(groups, preference, resolution, folder, tally, rejections)
            resolution.write_clusters(folder / CLUSTERS)
            return resolution.counts()

    def _cleaned(
        self, scratch: Path, near: NearDuplicates, tally: Tally, rejections: TableWriter
    ) -> Iterator[Document]:
        repeated = self._repeated_lines(scratch)
        by_source = {source: sorted(map(bytes.hex, lines)) for source, lines in repeated.by_source.items()}
        held_out = {manifest.name: self.store.open(manifest) for manifest in self.held_out}
        job = CleaningJob(config=self.config, expired_by=self.expired_by, repeated=by_source, held_out=held_out)
        keys_of = fate_keys(job, digest([self.code_version, self.files]), self._lines_among(repeated))
        fates = Remembered(self.memory / "fates", FateTable(), self._total)
        done = 0
        for batch, made in map_remembered(self.engine, cleaning(job), self._batches(tally.read), fates, keys_of):
            kept: list[tuple[Document, Sketch | None]] = []
            for document, fate in zip(batch, made, strict=True):
                became = fate.of(document)
                if isinstance(became, Document):
                    kept.append((became, fate.sketch))
                    tally.redact(document.source, fate.redactions)
                else:
                    rejections.add(became)
                    tally.reject(became)
            near.add([document for document, _ in kept], [sketch for _, sketch in kept])
            yield from (document for document, _ in kept)
            done += len(batch)
            self._report("cleaning", done)

    def _repeated_lines(self, scratch: Path) -> RepeatedLines:
        rule = self.config.repeated_lines
        if rule is None:
            return RepeatedLines({}, 0)
        folder = scratch / "lines"
        folder.mkdir()
        counts, done = LineCounts(folder, rule), 0
        remembered, keys_of = self._lines(rule)
        for _, lines in map_remembered(self.engine, line_hashing(rule), self._batches(), remembered, keys_of):
            counts.add_hashes(lines)
            done += len(lines)
            self._report("counting lines", done)
        return counts.repeated()

    def _lines_among(self, repeated: RepeatedLines) -> Callable[[Sequence[Document]], list[Hashes]]:
        """Return what gives the repeated lines of each document, of which its fate depends on no others."""
        rule = self.config.repeated_lines
        if rule is None:
            return lambda documents: [np.zeros(0, np.uint64)] * len(documents)
        remembered, keys_of = self._lines(rule)
        hash_lines = line_hashing(rule).prepare()

        def among(documents: Sequence[Document]) -> list[Hashes]:
            known = remembered.find(keys_of(documents))
            return repeated.among(
                [lines or hash_lines([document])[0] for document, lines in zip(documents, known, strict=True)]
            )

        return among

    def _lines(self, rule: RepeatedLinesRule) -> tuple[Remembered, Keys]:
        return Remembered(self.memory / "lines", LineTable(), self._total), line_keys(rule, self.code_version)

    def _batches(self, on_batch: Callable[[Sequence[Document]], None] = lambda _: None) -> Iterator[Sequence[Document]]:
        for manifest in self.sources:
            batch: list[Document] = []
            num_characters = 0
            for document in read_documents(self.store.open(manifest) / DOCUMENTS):
                batch.append(document)
                num_characters += len(document.text)
                if len(batch) == _BATCH_DOCUMENTS or num_characters >= _BATCH_CHARACTERS:
                    on_batch(batch)
                    yield batch
                    batch, num_characters = [], 0
            if batch:
                on_batch(batch)
                yield batch

    def _write(
        self,
        groups: Path,
        preference: Mapping[str, int],
        resolution: Resolution,
        folder: Path,
        tally: Tally,
        rejections: TableWriter,
    ) -> None:
        row = done = 0
        with ExitStack() as stack:
            parts = {
                "train": stack.enter_context(documents_writer(folder / TRAIN)),
                "heldout": stack.enter_context(documents_writer(folder / HELDOUT)),
            }
            table = stack.enter_context(TableFile(folder / TABLE))
            for group in read_groups(groups):
                outcome = drop_duplicates(group, preference)
                rejected, placed = [*outcome.rejected], []
                for document in outcome.kept:
                    verdict = resolution.verdict(row, document)
                    row += 1
                    if isinstance(verdict, str):
                        placed.append((document, verdict))
                        parts[verdict].add(document)
                        tally.keep(document, verdict)
                    else:
                        rejected.append(verdict)
                for rejection in rejected:
                    rejections.add(rejection)
                    tally.reject(rejection)
                table.add(placed)
                done += len(group)
                self._report("writing", done)

    def _hold(self, expectations: list[Any], folder: Path, tally: Tally) -> list[str]:
        """Hold the table to expectations, and show each; return the warnings."""
        findings = hold(self.config, expectations, folder / TABLE)
        findings.require(self.config.name)
        findings = findings.with_more(tally.thin_sources(self.config.contributions))
        warnings = [warning.sentence for warning in findings.failed("warning")]
        for warning in warnings:
            message = f"corpus {self.config.name}, warning: {warning}"
            self.on_progress(Progress(self.config.name, message=message))
        (folder / EXPECTATIONS).write_text(json.dumps(findings.rows(), indent=2, sort_keys=True) + "\n")
        write_data_docs(self.config.name, findings, folder / DATA_DOCS)
        return warnings

    @property
    def _total(self) -> int:
        return sum(int(manifest.counts["documents"]) for manifest in self.sources)

    def _report(self, doing: str, done: int) -> None:
        now = time.monotonic()
        if doing == self._doing and now - self._reported < _SECONDS_BETWEEN_REPORTS and done < self._total:
            return
        self._doing, self._reported = doing, now
        self.on_progress(Progress(f"{self.config.name}: {doing}", done, self._total, "documents"))
