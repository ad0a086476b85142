"""What is done with each document on its own, in which order: the work that the engine runs on batches."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.decontamination import drop_contaminated
from forge_pipelines.corpus.fates import Fate
from forge_pipelines.corpus.language import keep_languages
from forge_pipelines.corpus.length import bound_length
from forge_pipelines.corpus.normalize import normalize
from forge_pipelines.corpus.own_rules import hold_to_own_rule, load_rules
from forge_pipelines.corpus.personal.config import PersonalDataConfig
from forge_pipelines.corpus.personal.redact import redact_personal, replaced
from forge_pipelines.corpus.personal.search import PersonalDataSearch
from forge_pipelines.corpus.quality import judge_quality
from forge_pipelines.corpus.repeated_lines import (
    LineHashes,
    RepeatedLines,
    RepeatedLinesRule,
    drop_repeated_lines,
    line_hashes,
)
from forge_pipelines.corpus.sketches import sketched
from forge_pipelines.corpus.steps import Step
from forge_pipelines.corpus.terms import hold_to_terms
from forge_pipelines.engine.work import Work
from forge_pipelines.manifest import Document, Name, Rejection, Value


class CleaningJob(Value):
    """What a process must know to clean documents.

    Attributes:
        expired_by: the last day on which any document has expired, see `terms.last_expiry`.
        repeated: hashes of lines that repeat, hexadecimal, by source.
        held_out: the local folder of each corpus whose held-out documents are looked for.
    """

    config: CorpusConfig
    expired_by: date | None
    repeated: Mapping[str, Sequence[str]]
    held_out: Mapping[Name, Path]


def cleaning(job: CleaningJob) -> Work:
    """Return the work that turns a batch of documents into the `Fate` of each."""
    return Work(module=__name__, function=prepare.__name__, argument=job.model_dump_json())


def line_hashing(rule: RepeatedLinesRule) -> Work:
    """Return the work that turns a batch of documents into a list of `LineHashes`."""
    return Work(module=__name__, function=prepare_line_hashing.__name__, argument=rule.model_dump_json())


def prepare(argument: str) -> Callable[[Sequence[Document]], list[Fate]]:
    """Load what the steps of a `CleaningJob` need, and return what applies them all.

    Raises:
        ConfigError: a rule of one's own, an evaluation set or a folder of names cannot be used.
    """
    job = CleaningJob.model_validate_json(argument)
    hide = _hiding(job.config.personal_data)
    return partial(_clean, tuple(steps(job)), hide, job.config.near_duplicates.enabled)


def prepare_line_hashing(argument: str) -> Callable[[Sequence[Document]], list[LineHashes]]:
    """Return what hashes the lines of normalised documents."""
    rule = RepeatedLinesRule.model_validate_json(argument)
    return lambda documents: [*line_hashes(normalize(documents).kept, rule)]


def steps(job: CleaningJob) -> Iterator[Step]:
    """Yield what is done, in this order: what is refused by its labels costs no more, and placeholders come last."""
    config = job.config
    yield normalize
    yield partial(hold_to_terms, terms=config.terms, expired_by=job.expired_by)
    if config.languages is not None:
        yield partial(keep_languages, rule=config.languages)
    if config.repeated_lines is not None:
        by_source = {source: frozenset(map(bytes.fromhex, lines)) for source, lines in job.repeated.items()}
        repeated = RepeatedLines(by_source, config.repeated_lines.min_characters)
        yield partial(drop_repeated_lines, repeated=repeated)
    yield partial(bound_length, bounds=config.length)
    if config.quality is not None:
        yield partial(judge_quality, rules=config.quality)
    for rule in load_rules(config.rules):
        yield partial(hold_to_own_rule, rule=rule)
    if config.decontamination is not None:
        yield partial(drop_contaminated, items=config.decontamination.items(job.held_out))
    if config.personal_data is not None:
        yield partial(redact_personal, config=config.personal_data)


def _hiding(config: PersonalDataConfig | None) -> Callable[[Rejection], Rejection]:
    """Return what puts placeholders into the excerpts of rejections, too, whatever rejected the document."""
    if config is None:
        return lambda rejection: rejection
    search = PersonalDataSearch(config)

    def hidden(text: str) -> str:
        return replaced(text, search.find(text))

    return lambda rejection: replace(rejection, reason=hidden(rejection.reason), excerpt=hidden(rejection.excerpt))


def _clean(
    rules: Iterable[Step],
    hide: Callable[[Rejection], Rejection],
    are_sketched: bool,
    documents: Sequence[Document],
) -> list[Fate]:
    rejected: dict[str, Rejection] = {}
    redactions: defaultdict[str, dict[str, int]] = defaultdict(dict)
    kept = documents
    for rule in rules:
        outcome = rule(kept)
        kept = outcome.kept
        rejected |= {each.doc_id: hide(each) for each in outcome.rejected}
        for (doc_id, kind), count in outcome.redactions.items():
            redactions[doc_id][kind] = count
    by_id = {each.doc_id: each for each in kept}
    sketches = dict(zip(by_id, sketched(each.text for each in by_id.values()), strict=True)) if are_sketched else {}
    return [
        Fate.rejected(was, rejected[was.doc_id])
        if was.doc_id in rejected
        else Fate.kept(was, by_id[was.doc_id], redactions[was.doc_id], sketches.get(was.doc_id))
        for was in documents
    ]
