"""The stage `validated_corpus`: documents of one or more sources in, a corpus that holds to its expectations out."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.data_docs import write_data_docs
from forge_pipelines.corpus.duplicates import drop_duplicates
from forge_pipelines.corpus.expectations import build, check_expectations, hold
from forge_pipelines.corpus.grouping import read_groups, write_groups
from forge_pipelines.corpus.length import bound_length
from forge_pipelines.corpus.normalize import normalize
from forge_pipelines.corpus.reading import DATA_DOCS, EXPECTATIONS, HELDOUT, REJECTIONS, TABLE, TRAIN, read_lengths
from forge_pipelines.corpus.split import part_of
from forge_pipelines.corpus.steps import STAGE, Step
from forge_pipelines.corpus.table import TableFile
from forge_pipelines.corpus.tally import Tally
from forge_pipelines.manifest import Classification, Document, Manifest, Rejection, StageRequest, code_version
from forge_pipelines.pictures import LENGTHS_PICTURE, draw_lengths
from forge_pipelines.progress import OnProgress, Progress, silent
from forge_pipelines.store import Made, Publication, Store
from forge_pipelines.tables import BATCH_ROWS, documents_writer, read_documents, rejections_writer

CODE_VERSION = "2"


def validate(
    config: CorpusConfig, sources: Sequence[Manifest], store: Store, on_progress: OnProgress = silent
) -> Publication:
    """Publish a corpus: clean the sources' documents, split them, and hold the result to its expectations.

    Args:
        config: the corpus.
        sources: the `raw_documents` manifests of the sources that it names, in any order.
        store: where the manifests are, and where the corpus is published.
        on_progress: is told what is being done, and each expectation of severity ``warning`` that does not hold.

    Raises:
        ConfigError: an expectation is unknown, is given wrong arguments, or cannot be computed.
        DataError: nothing is left of a source, or of a part of the split; or an expectation does not hold.
    """
    assert {manifest.name for manifest in sources} == set(config.sources), "a manifest for each source of the corpus"
    check_expectations(config)
    request = StageRequest(
        kind=STAGE,
        name=config.name,
        inputs={manifest.name: manifest.fingerprint for manifest in sources},
        parameters=config.model_dump(mode="json", exclude={"name", "description"}),
        code_version=code_version(CODE_VERSION, "great-expectations", "pyarrow"),
    )
    return store.obtain(request, lambda folder: _make(folder, config, sources, store, on_progress))


def steps(config: CorpusConfig) -> tuple[Step, ...]:
    """Return what is done with normalised documents, in this order."""
    preference = {source: place for place, source in enumerate(config.sources)}
    return (
        partial(bound_length, bounds=config.length),
        partial(drop_duplicates, preference=preference),
    )


def _make(
    folder: Path, config: CorpusConfig, sources: Sequence[Manifest], store: Store, on_progress: OnProgress
) -> Made:
    total = sum(int(manifest.counts["documents"]) for manifest in sources)

    def report(doing: str, done: int) -> None:
        on_progress(Progress(f"{config.name}: {doing}", done, total, "documents"))

    report("preparing expectations", 0)
    # Wrong arguments are found here, before the first document is read.
    expectations = build(config)
    tally = Tally(config.name, config.sources)
    with TemporaryDirectory(dir=folder) as groups:
        write_groups(_read(sources, store, partial(report, "reading")), Path(groups))
        _clean(config, Path(groups), folder, tally, partial(report, "cleaning"))
    tally.require_enough()
    report("holding to expectations", total)
    findings = hold(config, expectations, folder / TABLE)
    findings.require(config.name)
    warnings = findings.failed("warning")
    for warning in warnings:
        on_progress(Progress(config.name, message=f"corpus {config.name}, warning: {warning.sentence}"))
    (folder / EXPECTATIONS).write_text(json.dumps(findings.rows(), indent=2, sort_keys=True) + "\n")
    write_data_docs(config.name, findings, folder / DATA_DOCS)
    (folder / LENGTHS_PICTURE).write_bytes(draw_lengths(read_lengths(folder)))
    classification = Classification.strictest(manifest.classification for manifest in sources)
    return Made({**tally.counts(), "warnings": len(warnings)}, classification)


def _read(sources: Sequence[Manifest], store: Store, report: Callable[[int], None]) -> Iterator[Document]:
    done = 0
    for manifest in sources:
        for batch in _batches(read_documents(store.open(manifest) / "documents.parquet")):
            yield from normalize(batch).kept
            done += len(batch)
            report(done)


def _clean(config: CorpusConfig, groups: Path, folder: Path, tally: Tally, report: Callable[[int], None]) -> None:
    done = 0
    with ExitStack() as stack:
        parts = {
            "train": stack.enter_context(documents_writer(folder / TRAIN)),
            "heldout": stack.enter_context(documents_writer(folder / HELDOUT)),
        }
        rejections = stack.enter_context(rejections_writer(folder / REJECTIONS))
        table = stack.enter_context(TableFile(folder / TABLE))
        for batch in read_groups(groups):
            kept, rejected = _apply(steps(config), batch)
            for rejection in rejected:
                rejections.add(rejection)
                tally.reject(rejection)
            placed = [(document, part_of(document.text_sha256, config.split)) for document in kept]
            for document, part in placed:
                parts[part].add(document)
                tally.keep(document, part)
            table.add(placed)
            done += len(batch)
            report(done)


def _apply(rules: Iterable[Step], batch: Sequence[Document]) -> tuple[Sequence[Document], list[Rejection]]:
    rejected: list[Rejection] = []
    for rule in rules:
        outcome = rule(batch)
        batch = outcome.kept
        rejected += outcome.rejected
    return batch, rejected


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    while batch := list(islice(documents, BATCH_ROWS)):
        yield batch
