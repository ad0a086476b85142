"""How a corpus is made of its sources' documents: one pass that cleans each, one that compares all, one that writes."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from forge_pipelines.columns import documents_of, rows_of
from forge_pipelines.corpus.batches import batches_of
from forge_pipelines.corpus.cleaning import CleaningJob, cleaning, line_hashing
from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.duplicates import drop_copies
from forge_pipelines.corpus.fates import FateTable, kept_of, rejections_of
from forge_pipelines.corpus.grouping import read_groups, write_groups
from forge_pipelines.corpus.holding import Held, Written, holding
from forge_pipelines.corpus.keys import Keys, fate_keys, line_keys
from forge_pipelines.corpus.membership import CLUSTERS
from forge_pipelines.corpus.near_duplicates import PARTS, NearDuplicates, Resolution
from forge_pipelines.corpus.page import PAGE, render_page
from forge_pipelines.corpus.reading import DATA_DOCS, EXPECTATIONS, HELDOUT, REJECTIONS, TABLE, TRAIN
from forge_pipelines.corpus.remembered import Remembered, map_remembered
from forge_pipelines.corpus.repeated_lines import (
    Hashes,
    LineCounts,
    LineTable,
    RepeatedLines,
    RepeatedLinesRule,
)
from forge_pipelines.corpus.table import TableFile
from forge_pipelines.corpus.tally import Tally
from forge_pipelines.engine.work import Aside, Engine
from forge_pipelines.manifest import Classification, Manifest, digest
from forge_pipelines.pictures import LENGTHS_PICTURE
from forge_pipelines.progress import OnProgress, Progress
from forge_pipelines.store import Made, Store
from forge_pipelines.tables import TableWriter, documents_writer, rejections_writer

_FEW_DOCUMENTS = 4096
"""A corpus of fewer is made sooner than a process for its expectations is ready."""

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
        tally = Tally(self.config.name, self.config.sources)
        # Wrong arguments are found before the first document is read, or while documents are.
        with self.engine.aside(holding(self.config), here=self._total < _FEW_DOCUMENTS) as expecting:
            with TemporaryDirectory(dir=folder) as scratch, rejections_writer(folder / REJECTIONS) as rejections:
                numbers = self._sort_out(Path(scratch), folder, tally, rejections, expecting)
            tally.require_enough(self.config.contributions)
            self._report("holding to expectations", self._total)
            held: Held = expecting(Written(folder, tally.thin_sources(self.config.contributions)))
        self._publish(held, folder)
        classification = Classification.strictest(each.classification for each in (*self.sources, *self.held_out))
        page = render_page(self.config.name, classification.value, tally, numbers, held.drawing, held.warnings)
        (folder / PAGE).write_text(page)
        return Made({**tally.counts(), **numbers, "warnings": len(held.warnings)}, classification)

    def _sort_out(
        self, scratch: Path, folder: Path, tally: Tally, rejections: TableWriter, expecting: Aside
    ) -> Mapping[str, Any]:
        """Clean all documents, and write those that are kept; return what there is to say of near-copies."""
        groups = scratch / "groups"
        groups.mkdir()
        preference = {source: place for place, source in enumerate(self.config.sources)}
        with NearDuplicates(self.config.near_duplicates, self.config.split, preference, scratch) as near:
            write_groups(_checked(self._cleaned(scratch, near, tally, rejections), expecting), groups)
            resolution = near.resolve(partial(self._report, "comparing"))
            self._write(groups, preference, resolution, folder, tally, rejections)
            resolution.write_clusters(folder / CLUSTERS)
            return resolution.counts()

    def _cleaned(
        self, scratch: Path, near: NearDuplicates, tally: Tally, rejections: TableWriter
    ) -> Iterator[pa.Table]:
        repeated = self._repeated_lines(scratch)
        by_source = {source: sorted(map(bytes.hex, lines)) for source, lines in repeated.by_source.items()}
        held_out = {manifest.name: self.store.open(manifest) for manifest in self.held_out}
        job = CleaningJob(config=self.config, expired_by=self.expired_by, repeated=by_source, held_out=held_out)
        keys_of = fate_keys(job, digest([self.code_version, self.files]), self._lines_among(repeated))
        fates = Remembered(self.memory / "fates", FateTable(), self._total)
        done = 0
        batches = batches_of(self.sources, self.store, tally.read)
        for batch, made in map_remembered(self.engine, cleaning(job), batches, fates, keys_of):
            for rejection in rejections_of(batch, made):
                rejections.add(rejection)
                tally.reject(rejection)
            documents, kept = kept_of(batch, made), [fate for fate in made if fate.rule is None]
            for source, fate in zip(documents.column("source").to_pylist(), kept, strict=True):
                tally.redact(source, fate.redactions)
            near.add(documents, [fate.sketch for fate in kept])
            yield documents
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
        for _, lines in map_remembered(
            self.engine, line_hashing(rule), batches_of(self.sources, self.store), remembered, keys_of
        ):
            counts.add_hashes(lines)
            done += len(lines)
            self._report("counting lines", done)
        return counts.repeated()

    def _lines_among(self, repeated: RepeatedLines) -> Callable[[pa.Table], Sequence[Hashes]]:
        """Return what gives the repeated lines of each document, of which its fate depends on no others."""
        rule = self.config.repeated_lines
        if rule is None:
            return lambda documents: [np.zeros(0, np.uint64)] * len(documents)
        remembered, keys_of = self._lines(rule)
        hash_lines = line_hashing(rule).prepare()

        def among(documents: pa.Table) -> Sequence[Hashes]:
            known = remembered.find(keys_of(documents))
            forgotten = [row for row, lines in enumerate(known) if lines is None]
            for row in forgotten:
                known[row] = hash_lines(documents_of(documents.slice(row, 1)))[0]
            return repeated.among(known)

        return among

    def _lines(self, rule: RepeatedLinesRule) -> tuple[Remembered, Keys]:
        return Remembered(self.memory / "lines", LineTable(), self._total), line_keys(rule, self.code_version)

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
            writers = [stack.enter_context(documents_writer(folder / name)) for name in (TRAIN, HELDOUT)]
            table = stack.enter_context(TableFile(folder / TABLE))
            for group in read_groups(groups):
                documents, copies = drop_copies(group, preference)
                parts = resolution.parts(row, documents.column("doc_id"))
                near = resolution.rejections(row, documents, parts)
                for rejection in (*copies, *near):
                    rejections.add(rejection)
                    tally.reject(rejection)
                for place, (part, writer) in enumerate(zip(PARTS, writers, strict=True)):
                    of_part = _those(documents, parts == place)
                    writer.add_documents(of_part)
                    tally.keep(of_part, part)
                table.add(_those(documents, parts >= 0), [PARTS[place] for place in parts[parts >= 0].tolist()])
                row += len(documents)
                done += len(group)
                self._report("writing", done)

    def _publish(self, held: Held, folder: Path) -> None:
        """Show each warning, and write what was said of expectations and drawn."""
        for warning in held.warnings:
            message = f"corpus {self.config.name}, warning: {warning}"
            self.on_progress(Progress(self.config.name, message=message))
        (folder / EXPECTATIONS).write_text(held.expectations)
        (folder / DATA_DOCS).mkdir()
        (folder / DATA_DOCS / "index.html").write_text(held.data_docs)
        (folder / LENGTHS_PICTURE).write_bytes(held.picture)

    @property
    def _total(self) -> int:
        return sum(int(manifest.counts["documents"]) for manifest in self.sources)

    def _report(self, doing: str, done: int) -> None:
        now = time.monotonic()
        if doing == self._doing and now - self._reported < _SECONDS_BETWEEN_REPORTS and done < self._total:
            return
        self._doing, self._reported = doing, now
        self.on_progress(Progress(f"{self.config.name}: {doing}", done, self._total, "documents"))


def _checked(batches: Iterable[pa.Table], aside: Aside) -> Iterator[pa.Table]:
    """Pass batches on, and see at each if what is prepared aside has failed."""
    for batch in batches:
        aside.check()
        yield batch


def _those(documents: pa.Table, is_one: npt.NDArray[np.bool_]) -> pa.Table:
    return documents if is_one.all() else rows_of(documents, np.flatnonzero(is_one))
