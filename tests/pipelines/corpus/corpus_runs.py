"""A corpus with every rule on, over a source that is read from files, and runs of it that wait at each report."""

import json
import os
import random
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from multiprocessing import get_context, set_start_method
from multiprocessing.connection import Connection
from pathlib import Path

import corpus_samples
import psutil

from forge_pipelines.corpus import batches, remembered
from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.gopher import STOP_WORDS
from forge_pipelines.corpus.stage import validate
from forge_pipelines.engine.local import LocalEngine
from forge_pipelines.errors import ForgeError
from forge_pipelines.manifest import Manifest
from forge_pipelines.progress import OnProgress, Progress, silent
from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.store import Store

TODAY = date(2026, 11, 25)
BATCH_DOCUMENTS = 12
PATIENCE_SECONDS = 60.0
_MARK = "FORGE_TEST_RUN"

# A run's process is forked from a server that has loaded what takes seconds to load, and nothing else.
_RUNS = get_context("forkserver")
_RUNS.set_forkserver_preload(["great_expectations", "py3langid", "matplotlib.figure", "forge_pipelines.corpus.stage"])


def sentences(draw: random.Random, count: int = 12) -> str:
    """Sentences that pass every published rule of quality, one a line."""
    nouns = [f"{draw.choice(corpus_samples.WORDS)}{draw.randrange(90)}" for _ in range(9 * count)]
    words = [f"{draw.choice(STOP_WORDS['en'])} {noun}" if draw.random() < 0.4 else noun for noun in nouns]
    return "\n".join(f"{' '.join(words[place : place + 9])}." for place in range(0, len(words), 9))


def write_documents(folder: Path, count: int = 120) -> None:
    """Write plain pages with a footer each, and after them one or two of every kind that a corpus treats."""
    draw = random.Random(5)
    pages = {f"plain-{number:03}.md": f"{sentences(draw)}\n\n{corpus_samples.FOOTER}" for number in range(count)}
    lines = pages["plain-000.md"].splitlines()
    pages |= {
        "copy.md": pages["plain-001.md"],
        "near.md": "\n".join([f"Indeed {lines[0]}", *lines[1:]]),
        "secret.md": f"{sentences(draw)}\n{corpus_samples.SECRET}",
        "exam.md": f"{sentences(draw)}\nThis is {corpus_samples.QUESTION.upper()} of all the rest.",
        "french.md": "La pompe est dans la salle et le joint de la vanne est graissé chaque semaine. " * 9,
        "old.md": sentences(draw),
        "foreign.md": sentences(draw),
        "draft.md": f"DRAFT {sentences(draw)}",
        "stub.md": "Too short.",
        "list.md": "- oil, grease\n" * 20,
    }
    folder.mkdir()
    for name, text in pages.items():
        (folder / name).write_text(text)
        os.utime(folder / name, (1_700_000_000, 1_700_000_000))


def source(folder: Path) -> SourceConfig:
    """Return the source that has a folder's documents, of which two are labelled otherwise."""
    overrides = [{"paths": ["old.md"], "retain_days": 10}, {"paths": ["foreign.md"], "licence": "MIT"}]
    labels = {"licence": "Apache-2.0", "classification": "internal", "overrides": overrides}
    return SourceConfig.model_validate({"name": "wiki", "folder": {"path": str(folder)}, "labels": labels})


def corpus(folder: Path, **fields: object) -> CorpusConfig:
    """Return a corpus with every rule on, and write the files into a folder that it names."""
    (folder / "exam.jsonl").write_text(json.dumps({"text": corpus_samples.QUESTION}) + "\n")
    (folder / "names").mkdir(exist_ok=True)
    (folder / "names" / "names.txt").write_text("Ada Byron\nEmmy Noether\n")
    every_rule = corpus_samples.rules(folder) | {
        "quality": {"c4": {"terminal_punctuation": False}},
        "personal_data": {"names_model": str(folder / "names")},
        "expectations": [{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "uri"}}],
    }
    named = {"name": "books", "sources": ["wiki"], "split": {"heldout_fraction": 0.3}}
    return CorpusConfig.model_validate(named | every_rule | fields)


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended that nobody killed: with a publication, or with an error's class and sentence."""

    fingerprint: str = ""
    error: str = ""
    sentence: str = ""


class Run:
    """A process that makes a corpus with two workers, and waits at each report until it is asked for the next."""

    def __init__(self, config: CorpusConfig, store: Store) -> None:
        self._channel, theirs = _RUNS.Pipe()
        self._mark = f"{random.getrandbits(64):016x}"
        arguments = (config.model_dump_json(), store.address, str(store.work.parent), self._mark, theirs)
        self._process = _RUNS.Process(target=_make, args=arguments)
        self._process.start()
        theirs.close()
        self.end = End()

    def reports(self) -> Iterator[str]:
        """Yield the step of each report; the run goes on when the next is asked for."""
        while (step := self.next_report(PATIENCE_SECONDS)) is not None:
            yield step
            self.go_on()

    def next_report(self, timeout_seconds: float) -> str | None:
        """Wait for the next report, and return its step: "" where there is none in time, None when the run is over."""
        if not self._channel.poll(timeout_seconds):
            return ""
        try:
            heard = self._channel.recv()
        except (EOFError, ConnectionResetError):
            return None
        if isinstance(heard, End):
            self.end = heard
            return None
        return str(heard)

    def go_on(self) -> None:
        """Let the run go on from its report."""
        with suppress(BrokenPipeError):
            self._channel.send(None)

    def kill(self) -> None:
        """Kill the run itself, as `kill -9` does."""
        self._process.kill()

    def workers(self) -> list[psutil.Process]:
        """Return the processes that work for the run."""
        return [each for each in self.descendants() if "forge_pipelines.engine.worker" in _command(each)]

    def descendants(self) -> list[psutil.Process]:
        """Return all processes that come of the run and live, whoever is their parent by now."""
        return [each for each in psutil.process_iter() if _environment(each).get(_MARK) == self._mark]

    def exit_code(self) -> int:
        """Wait until the run has ended, and return its exit code."""
        self._process.join(PATIENCE_SECONDS)
        self._channel.close()
        assert self._process.exitcode is not None, "the run does not end"
        return self._process.exitcode


def _make(config: str, address: str, scratch: str, mark: str, channel: Connection) -> None:
    os.environ[_MARK] = mark
    set_start_method("fork", force=True)  # as it is elsewhere: else the locks of libraries outlive a run that is killed
    assert batches._BATCH_DOCUMENTS > BATCH_DOCUMENTS
    batches._BATCH_DOCUMENTS, remembered._AT_ONCE = BATCH_DOCUMENTS, BATCH_DOCUMENTS // 4

    def tell(progress: Progress) -> None:
        channel.send(step_of(progress))
        channel.recv()

    store = Store(address, Path(scratch))
    try:
        made = make(CorpusConfig.model_validate_json(config), store, tell, num_workers=2)
    except ForgeError as error:
        channel.send(End(error=type(error).__name__, sentence=str(error)))
        sys.exit(1)
    channel.send(End(fingerprint=made.fingerprint))


def make(config: CorpusConfig, store: Store, on_progress: OnProgress = silent, num_workers: int = 1) -> Manifest:
    """Make the corpus of the source that is published in a store."""
    source = store.latest("wiki", "raw_documents")
    return validate(config, [source], store, on_progress, LocalEngine(num_workers), TODAY).manifest


def step_of(progress: Progress) -> str:
    """Return what a report says that is done."""
    return progress.stage.partition(": ")[2]


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return list(process.cmdline())
    return []


def _environment(process: psutil.Process) -> dict[str, str]:
    with suppress(psutil.Error):
        return dict(process.environ())
    return {}
