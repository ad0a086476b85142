"""How a corpus is made of its sources' documents: one pass that cleans each, one that compares all, one that writes."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from forge_pipelines.corpus.cleaning import CleaningJob, cleaning, line_hashing
from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.data_docs import write_data_docs
from forge_pipelines.corpus.duplicates import drop_duplicates
from forge_pipelines.corpus.expectations import build, hold
from forge_pipelines.corpus.grouping import read_groups, write_groups
from forge_pipelines.corpus.membership import CLUSTERS
from forge_pipelines.corpus.near_duplicates import NearDuplicates, Resolution
from forge_pipelines.corpus.page import PAGE, render_page
from forge_pipelines.corpus.reading import DATA_DOCS, EXPECTATIONS, HELDOUT, REJECTIONS, TABLE, TRAIN, read_lengths
from forge_pipelines.corpus.repeated_lines import LineCounts
from forge_pipelines.corpus.steps import Outcome
from forge_pipelines.corpus.table import TableFile
from forge_pipelines.corpus.tally import Tally
from forge_pipelines.engine.work import Engine
from forge_pipelines.manifest import Classification, Document, Manifest
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
        expired_by: the last day on which any document has expired, see `terms.last_expiry`.
    """

    config: CorpusConfig
    sources: Sequence[Manifest]
    store: Store
    engine: Engine
    on_progress: OnProgress
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
        tally.require_enough()
        self._report("holding to expectations", self._total)
        warnings = self._hold(expectations, folder)
        lengths = draw_lengths(read_lengths(folder))
        (folder / LENGTHS_PICTURE).write_bytes(lengths)
        classification = Classification.strictest(manifest.classification for manifest in self.sources)
        page = render_page(self.config.name, classification.value, tally, numbers, lengths, warnings)
        (folder / PAGE).write_text(page)
        return Made({**tally.counts(), **numbers, "warnings": warnings}, classification)

    def _sort_out(self, scratch: Path, folder: Path, tally: Tally, rejections: TableWriter) -> Mapping[str, Any]:
        """Clean all documents, and write those that are kept; return what there is to say of near-copies."""
        groups = scratch / "groups"
        groups.mkdir()
        write_groups(self._cleaned(scratch, tally, rejections), groups)
        preference = {source: place for place, source in enumerate(self.config.sources)}
        with NearDuplicates(self.config.near_duplicates, self.config.split, preference, scratch) as near:
            for _, outcome, copies in self._distinct(groups, preference, "comparing"):
                near.add(outcome.kept, copies)
            resolution = near.resolve()
            self._write(groups, preference, resolution, folder, tally, rejections)
            resolution.write_clusters(folder / CLUSTERS)
            return resolution.counts()

    def _cleaned(self, scratch: Path, tally: Tally, rejections: TableWriter) -> Iterator[Document]:
        repeated = self._repeated_lines(scratch)
        job = CleaningJob(config=self.config, expired_by=self.expired_by, repeated=repeated)
        done = 0
        for outcome in self.engine.map_batches(cleaning(job), self._batches(tally.read)):
            for rejection in outcome.rejected:
                rejections.add(rejection)
                tally.reject(rejection)
            tally.redact(outcome.redactions)
            yield from outcome.kept
            done += len(outcome.kept) + len(outcome.rejected)
            self._report("cleaning", done)

    def _repeated_lines(self, scratch: Path) -> Mapping[str, Sequence[str]]:
        rule = self.config.repeated_lines
        if rule is None:
            return {}
        lines = scratch / "lines"
        lines.mkdir()
        counts, done = LineCounts(lines, rule), 0
        for hashes in self.engine.map_batches(line_hashing(rule), self._batches(lambda _: None)):
            counts.add_hashes(hashes)
            done += len(hashes)
            self._report("counting lines", done)
        return {source: sorted(map(bytes.hex, found)) for source, found in counts.repeated().by_source.items()}

    def _batches(self, on_batch: Callable[[Sequence[Document]], None]) -> Iterator[Sequence[Document]]:
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

    def _distinct(
        self, groups: Path, preference: Mapping[str, int], doing: str
    ) -> Iterator[tuple[Sequence[Document], Outcome, Sequence[Document]]]:
        """Yield each group, what dropping exact copies made of it, and the copies; the same at every call."""
        done = 0
        for group in read_groups(groups):
            outcome = drop_duplicates(group, preference)
            copies = {rejection.doc_id for rejection in outcome.rejected}
            yield group, outcome, [document for document in group if document.doc_id in copies]
            done += len(group)
            self._report(doing, done)

    def _write(
        self,
        groups: Path,
        preference: Mapping[str, int],
        resolution: Resolution,
        folder: Path,
        tally: Tally,
        rejections: TableWriter,
    ) -> None:
        row = 0
        with ExitStack() as stack:
            parts = {
                "train": stack.enter_context(documents_writer(folder / TRAIN)),
                "heldout": stack.enter_context(documents_writer(folder / HELDOUT)),
            }
            table = stack.enter_context(TableFile(folder / TABLE))
            for _, outcome, _ in self._distinct(groups, preference, "writing"):
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

    def _hold(self, expectations: list[Any], folder: Path) -> int:
        """Hold the table to expectations, and show each; return how many warnings there are."""
        findings = hold(self.config, expectations, folder / TABLE)
        findings.require(self.config.name)
        warnings = findings.failed("warning")
        for warning in warnings:
            message = f"corpus {self.config.name}, warning: {warning.sentence}"
            self.on_progress(Progress(self.config.name, message=message))
        (folder / EXPECTATIONS).write_text(json.dumps(findings.rows(), indent=2, sort_keys=True) + "\n")
        write_data_docs(self.config.name, findings, folder / DATA_DOCS)
        return len(warnings)

    @property
    def _total(self) -> int:
        return sum(int(manifest.counts["documents"]) for manifest in self.sources)

    def _report(self, doing: str, done: int) -> None:
        now = time.monotonic()
        if doing == self._doing and now - self._reported < _SECONDS_BETWEEN_REPORTS and done < self._total:
            return
        self._doing, self._reported = doing, now
        self.on_progress(Progress(f"{self.config.name}: {doing}", done, self._total, "documents"))
