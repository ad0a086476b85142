"""`forge documents`: what a source or a corpus holds, and what it or a model's shards rejected and why."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from forge_assets.cli.found import Found, found_document, found_rejection, visible
from forge_assets.cli.screen import made_in_words
from forge_assets.resources import forge_resources
from forge_assets.settings import Settings
from forge_pipelines.corpus.reading import HELDOUT, TRAIN
from forge_pipelines.corpus.steps import STAGE as CORPUS
from forge_pipelines.errors import ConfigError, DataError
from forge_pipelines.manifest import Manifest, Rejection
from forge_pipelines.shards.reading import STAGE as SHARDS
from forge_pipelines.sources.assembly import DOCUMENTS, REJECTIONS
from forge_pipelines.sources.identity import STAGE as SOURCE
from forge_pipelines.sources.places.globs import compile_globs
from forge_pipelines.store import Store
from forge_pipelines.tables import find_documents, read_labels, read_rejections

_PARTS: Mapping[str, Mapping[str, str]] = {
    SOURCE: {"": DOCUMENTS},
    CORPUS: {"train": TRAIN, "heldout": HELDOUT},
    SHARDS: {},
}
_SHOWN = 20
_COUNTED = 12


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for.

    Attributes:
        rejected: rejections, in place of documents.
        rule: rejections by this rule alone.
        grep: text that the text or the path holds (a rejection's reason or path), whatever its case.
        regex: ``grep`` is a regular expression.
        uri: glob pattern of the paths; what stands in a file comes with it.
        limit: at most so many, 0 for all; None: 20 on a terminal, else all.
        full: whole texts.
    """

    rejected: bool = False
    rule: str | None = None
    grep: str | None = None
    regex: bool = False
    uri: str | None = None
    limit: int | None = None
    full: bool = False

    def pattern(self) -> re.Pattern[str] | None:
        """Return what texts must hold.

        Raises:
            ConfigError: it is no regular expression, or there is none.
        """
        if self.grep is None:
            if self.regex:
                raise ConfigError("--regex says how --grep is read; add --grep TEXT")
            return None
        try:
            return re.compile(self.grep if self.regex else re.escape(self.grep), re.IGNORECASE | re.MULTILINE)
        except re.error as error:
            advice = "mend it, or leave --regex away to find it as it stands"
            raise ConfigError(f"--grep {self.grep!r} is no regular expression: {error}; {advice}") from error

    def paths(self) -> re.Pattern[str]:
        """Return what paths must match.

        Raises:
            ConfigError: the pattern means nothing.
        """
        try:
            whole = compile_globs(["**" if self.uri is None else self.uri])
        except ValueError as error:
            raise ConfigError(f"--uri: {error}") from error
        return re.compile(f"(?:{whole.pattern})(?:(?:!/|#).*)?", re.DOTALL)


def show_documents(name: str, query: Query, settings: Settings) -> int:
    """Print what a source or a corpus holds, or what a model's shards rejected: a line for each, where no person reads.

    Returns:
        0, or 1 when nothing is what was looked for.

    Raises:
        ConfigError: there is no such rule, or a pattern means nothing.
        DataError: nothing of this name was ever made, or it is damaged.
    """
    console = Console(soft_wrap=True, highlight=False)
    query.pattern(), query.paths()
    store = forge_resources(settings)["forge_store"].open()
    manifest = _published(name, store)
    if manifest.kind == SHARDS:
        manifest = _rejections_alone(manifest, query)
    _require_rule(query.rule, manifest)
    folder = store.open(manifest)
    is_overview = not (query.rejected or query.grep or query.full)
    if console.is_terminal and is_overview:
        for part in _overview(manifest, folder, query):
            console.print(part, soft_wrap=isinstance(part, Text))
    limit = (_SHOWN if console.is_terminal else 0) if query.limit is None else query.limit
    return _print(_find(manifest, folder, query), manifest, query, console, limit)


def _published(name: str, store: Store) -> Manifest:
    """Return the latest source or corpus of a name, which may be an asset's key, too; else a model's shards.

    Raises:
        ConfigError: it is the key of something else, or the name of both.
        DataError: it was never made.
    """
    name, _, kind = name.partition("/")
    kinds = [kind] if kind else [*_PARTS]
    choice = " or ".join(f"{name}/{each}" for each in (SOURCE, CORPUS))
    if not set(kinds) <= _PARTS.keys():
        raise ConfigError(f"{name}/{kind} holds no documents; write {choice}")
    pointers = store.pointers(f"{name}/{each}" for each in kinds)
    made = [each for each in kinds if f"{name}/{each}" in pointers]
    made = [each for each in made if _PARTS[each]] or made
    if len(made) > 1:
        raise ConfigError(f"{name} is a source and a corpus; write {choice}")
    return store.latest(name, *(made or kinds[:1]))


def _rejections_alone(shards: Manifest, query: Query) -> Manifest:
    """Return shards of which nothing but the rejections is read.

    Raises:
        ConfigError: documents are asked for.
        DataError: they were made by a version that kept no rejections.
    """
    title = f"{shards.name}/{SHARDS}"
    if not query.rejected:
        raise ConfigError(f"{title} holds token ids, no texts; add --rejected, or look at the documents of a corpus")
    if "rejected_by_rule" not in shards.counts:
        raise DataError(f"{title} was made by a version that kept no rejections; make it again")
    files = tuple(entry for entry in shards.files if entry.path == REJECTIONS)
    return shards.model_copy(update={"files": files})


def _require_rule(rule: str | None, manifest: Manifest) -> None:
    counts = manifest.counts["rejected_by_rule"]
    if rule is not None and rule not in counts:
        there_are = f"its rules are {', '.join(sorted(counts))}" if counts else "it rejected nothing"
        raise ConfigError(f"{manifest.name}/{manifest.kind} rejected nothing by a rule {rule!r}; {there_are}")


def _find(manifest: Manifest, folder: Path, query: Query) -> Iterator[Found]:
    pattern, paths = query.pattern(), query.paths()
    if query.rejected:
        for row in _rejections(folder, query):
            if rejection := found_rejection(row, in_corpus=manifest.kind != SOURCE, pattern=pattern):
                yield rejection
        return
    for part, file in _PARTS[manifest.kind].items():
        for document in find_documents(folder / file, lambda labels: paths.fullmatch(labels["uri"]) is not None):
            if found := found_document(document, part, pattern, full=query.full):
                yield found


def _rejections(folder: Path, query: Query) -> Iterator[Rejection]:
    paths = query.paths()
    for row in read_rejections(folder / REJECTIONS):
        if query.rule in {None, row.rule} and paths.fullmatch(row.uri):
            yield row


def _print(rows: Iterator[Found], manifest: Manifest, query: Query, console: Console, limit: int) -> int:
    shown = 0
    for row in islice(rows, limit or None):
        shown += 1
        if not console.is_terminal:
            typer.echo("\t".join(row.cells()))
            continue
        for line in row.drawn():
            console.print(line, soft_wrap=not line.no_wrap, no_wrap=line.no_wrap, overflow=line.overflow)
    if shown and console.is_terminal and next(rows, None) is not None:
        console.print(f"the first {shown:,} are shown; --limit 0 shows all", style="dim")
    if not shown:
        Console(stderr=True, soft_wrap=True, highlight=False).print(_nothing(manifest, query), markup=False)
    is_narrowed = query.rule or query.grep or query.uri
    return 1 if is_narrowed and not shown else 0


def _nothing(manifest: Manifest, query: Query) -> str:
    what = "rejection" if query.rejected else "document"
    rule = f" by the rule {query.rule}" if query.rule else ""
    path = f" at {query.uri}" if query.uri else ""
    where = "reason" if query.rejected else "text"
    holding = f" whose {where} or path {'matches' if query.regex else 'holds'} «{query.grep}»" if query.grep else ""
    return f"forge: {manifest.name}/{manifest.kind} has no {what}{rule}{path}{holding}"


def _overview(manifest: Manifest, folder: Path, query: Query) -> Iterator[Text | Table]:
    """Yield what there is: a sentence, then formats, languages, and rules with an example each."""
    made = made_in_words(manifest.kind, manifest.counts)
    title = f"{manifest.name}/{manifest.kind} {manifest.fingerprint[:12]}, made {manifest.created_at}"
    yield Text(f"{title}: {made}\n")
    paths = query.paths()
    formats: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    for file in _PARTS[manifest.kind].values():
        for labels in read_labels(folder / file):
            if paths.fullmatch(labels["uri"]):
                formats[labels["media_type"]] += 1
                languages[labels["language"] or "unknown"] += 1
    yield from (_counted("format", formats), Text(), _counted("language", languages), Text())
    rules: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for row in _rejections(folder, query):
        rules[row.rule] += 1
        examples.setdefault(row.rule, f"{row.uri} {row.reason}")
    if rules:
        yield _counted("rejected by", rules, examples)
        yield Text(f"forge documents {manifest.name} --rejected --rule {next(iter(rules))}\n", "dim")


def _counted(what: str, counts: Counter[str], examples: Mapping[str, str] | None = None) -> Table:
    """Return a table of the most frequent, and of the others together."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(what, min_width=16)
    table.add_column("number", justify="right")
    if examples:
        table.add_column("for example", overflow="fold")
    most = counts.most_common(_COUNTED)
    for name, number in most:
        example = [Text(visible(examples[name]))] if examples else []
        table.add_row(Text(visible(name)), f"{number:,}", *example)
    if others := counts.total() - sum(number for _, number in most):
        table.add_row("others", f"{others:,}")
    return table
