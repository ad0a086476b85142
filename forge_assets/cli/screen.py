"""What the terminal shows while a chain runs, and the table at its end."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from forge_assets.progress import LISTENER, in_words
from forge_pipelines import progress as stages
from forge_pipelines.evaluation.report import Report

_WIDTH = 116
_ANSWERS_SHOWN = 3
_ANSWER_CHARACTERS = 320


@dataclass(frozen=True, slots=True)
class MadeRow:
    """One line of the closing table."""

    asset: str
    made: str
    worked: bool
    seconds: float
    fingerprint: str


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text(f"{rate:,.1f} {task.fields['unit']}/s" if rate else "", style="cyan")


def wide_console() -> Console:
    """Return the console that a chain is shown on; where it is no terminal, it is wide enough for the tables."""
    console = Console(soft_wrap=True, highlight=False)
    return console if console.is_terminal else Console(soft_wrap=True, highlight=False, width=_WIDTH)


@contextmanager
def live_progress(console: Console) -> Iterator[None]:
    """Show every stage that reports while this is open: a bar on a terminal, a line now and then elsewhere."""
    if not console.is_terminal:
        token = LISTENER.set(_Lines(console).report)
        try:
            yield
        finally:
            LISTENER.reset(token)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        _Rate(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[metrics]}", style="dim"),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        token = LISTENER.set(_Bars(bars).report)
        try:
            yield
        finally:
            LISTENER.reset(token)


class _Bars:
    """One bar a stage."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def report(self, progress: stages.Progress) -> None:
        if progress.message:
            self._bars.console.print(progress.message, highlight=False, markup=False)
            return
        if progress.stage not in self._tasks:
            self._tasks[progress.stage] = self._bars.add_task(progress.stage, unit="", metrics="", total=None)
        metrics = "  ".join(f"{name} {value:.4g}" for name, value in list(progress.metrics.items())[:2])
        task = self._tasks[progress.stage]
        self._bars.update(task, completed=progress.done, total=progress.total, unit=progress.unit, metrics=metrics)


class _Lines:
    """One line for each tenth of a stage."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[str, int] = {}

    def report(self, progress: stages.Progress) -> None:
        if progress.message:
            self._console.print(progress.message, highlight=False, markup=False)
            return
        tenth = int(10 * progress.done / progress.total) if progress.total else 0
        if self._shown.get(progress.stage, -1) < tenth:
            self._shown[progress.stage] = tenth
            self._console.print(in_words(progress), highlight=False, markup=False)


def closing_table(rows: Sequence[MadeRow]) -> Table:
    """Return the table: asset, what it made, how long it worked, fingerprint."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("asset", "made", "seconds", "fingerprint"):
        table.add_column(column, justify="right" if column == "seconds" else "left", overflow="fold")
    for row in rows:
        seconds = f"{row.seconds:,.1f}" if row.worked else "unchanged"
        table.add_row(row.asset, row.made, seconds, row.fingerprint[:12], style=None if row.worked else "dim")
    return table


_MADE: Mapping[str, str] = {
    "raw_documents": "{documents:,} documents of {files:,} files, {rejected:,} rejected",
    "validated_corpus": "{train:,} to train on, {heldout:,} held out, {rejected:,} rejected",
    "tokenized_shards": "{sequences:,} sequences, {trainable_tokens:,} trainable tokens",
    "trained_checkpoint": "{parameters:,} parameters, {steps:,} steps, loss {final_loss:.3f}",
    "evaluation_report": "{heldout/bits_per_character:.3f} bits per character, "
    "{heldout/bits_per_character_base:.3f} before (xz {xz:.3f})",
    "registered_model": "version {version}, {gates_passed} gates passed",
}


def made_in_words(stage: str, counts: Mapping[str, Any]) -> str:
    """Say in a few words what a stage made, from its numbers."""
    return _MADE[stage].format(**counts)


def closing_words(report: Report, page: str, command: str) -> Iterator[RenderableType]:
    """Yield what a person reads below the table of a model: what training changed, some answers, what to do next.

    Args:
        report: of the model that was just made.
        page: where the report can be read.
        command: how this person calls `forge`.
    """
    for name, metric in report.metrics.items():
        low, high = metric.difference_interval
        change = f"{metric.difference:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}".replace("-", "−")
        what = name.partition("/")[0]
        yield f"{what:<9}{metric.base:.3f} → {metric.value:.3f} {metric.unit} ({change})"
    if report.answers:
        yield ""
        yield _answers(report)
    yield ""
    yield f"report   {page}"
    chat = f"{command} chat {report.model}"
    yield f"next     {f'{command} up':<{len(chat)}}   the web UI: every step, what came of it, and why"
    yield f"         {chat}   ask it something"


def _answers(report: Report) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, show_lines=False, padding=(0, 2, 1, 0))
    table.add_column("asked", ratio=2, style="cyan")
    table.add_column(f"before ({report.adapted_from})" if report.adapted_from else "untrained", ratio=3, style="dim")
    table.add_column(report.model, ratio=3)
    for answer in report.answers[:_ANSWERS_SHOWN]:
        table.add_row(*(Text(_short(text)) for text in (answer.question, answer.base, answer.checkpoint)))
    return table


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _ANSWER_CHARACTERS else f"{line[: _ANSWER_CHARACTERS - 1]}…"
