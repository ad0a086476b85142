"""What the terminal shows while a chain runs, and the table at its end."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from forge_assets.progress import LISTENER, in_words, time_left
from forge_pipelines import progress as stages
from forge_pipelines.evaluation.report import Report

_WIDTH = 116
_ANSWERS_SHOWN = 3
_ANSWER_CHARACTERS = 320
_SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True, slots=True)
class MadeRow:
    """One line of the closing table."""

    asset: str
    made: str
    worked: bool
    seconds: float
    fingerprint: str


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
        TextColumn("{task.fields[position]}"),
        TextColumn("{task.fields[rate]}", style="cyan"),
        TextColumn("{task.fields[left]}"),
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
        shown = _shown(progress)
        if progress.stage not in self._tasks:
            self._tasks[progress.stage] = self._bars.add_task(progress.stage, total=None, **shown)
        self._bars.update(self._tasks[progress.stage], completed=progress.done, total=progress.total, **shown)


def _shown(progress: stages.Progress) -> dict[str, Any]:
    """Return what stands beside a stage's bar."""
    metrics = dict(progress.metrics)
    rate = metrics.pop(progress.rate_name, None)
    total = f"/{progress.total:,.0f}" if progress.total else ""
    return {
        "position": f"{progress.done:,.0f}{total}" if progress.unit else "",
        "rate": "" if rate is None else f"{rate:,.1f} {progress.rate_name}",
        "left": time_left(progress),
        "metrics": "  ".join(f"{name} {value:.4g}" for name, value in list(metrics.items())[:2]),
    }


class _Lines:
    """One line for each tenth of a stage; where nobody knows how much there is, one now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[str, int] = {}
        self._shown_at: dict[str, float] = {}

    def report(self, progress: stages.Progress) -> None:
        if progress.message:
            self._console.print(progress.message, highlight=False, markup=False)
        elif self._is_due(progress):
            self._console.print(in_words(progress), highlight=False, markup=False)

    def _is_due(self, progress: stages.Progress) -> bool:
        now = time.monotonic()
        tenth = int(10 * progress.done / progress.total) if progress.total else 0
        late = progress.total is None and now - self._shown_at.get(progress.stage, now) >= _SECONDS_BETWEEN_LINES
        if not late and self._shown.get(progress.stage, -1) >= tenth:
            return False
        self._shown[progress.stage], self._shown_at[progress.stage] = tenth, now
        return True


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
