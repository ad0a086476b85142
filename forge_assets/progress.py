"""Where a stage's progress is shown: in the run's log now and then, and live to whoever listens (the terminal)."""

import time
from contextvars import ContextVar
from dataclasses import replace

import dagster as dg

from forge_pipelines.progress import REMAINING, OnProgress, Pace, Progress, silent

LISTENER: ContextVar[OnProgress] = ContextVar("listener", default=silent)
"""Who watches the stages that run in this process."""

_SECONDS_BETWEEN_LOGS = 10.0
_SECONDS_BETWEEN_OBSERVATIONS = 60.0


def watch(context: dg.AssetExecutionContext, *others: OnProgress) -> OnProgress:
    """Return an ``on_progress`` that feeds the run's log, the listener, and ``others``."""
    last_log = 0.0
    listener = LISTENER.get()
    paces = Paces()

    def report(progress: Progress) -> None:
        nonlocal last_log
        for other in others:
            other(progress)
        progress = paces.rated(progress)
        listener(progress)
        now = time.monotonic()
        if progress.message:
            context.log.info(progress.message)
        elif now - last_log >= _SECONDS_BETWEEN_LOGS:
            last_log = now
            context.log.info(in_words(progress))

    return report


def observe(context: dg.AssetExecutionContext) -> OnProgress:
    """Return an ``on_progress`` that notes a stage's numbers on its asset now and then, where Dagster draws them."""
    last = time.monotonic()

    def note(progress: Progress) -> None:
        nonlocal last
        if not progress.metrics or time.monotonic() - last < _SECONDS_BETWEEN_OBSERVATIONS:
            return
        last = time.monotonic()
        numbers = {name.replace("_", " "): float(value) for name, value in progress.metrics.items()}
        metadata = {progress.unit or "done": int(progress.done), **numbers}
        context.log_event(dg.AssetObservation(context.asset_key, metadata=metadata))

    return note


class Paces:
    """Measures the rate of every stage that gives none of its own."""

    def __init__(self) -> None:
        self._paces: dict[str, Pace] = {}

    def rated(self, progress: Progress) -> Progress:
        """Return a report with its stage's rate, as soon as one can be told."""
        if progress.message or not progress.unit or progress.rate_name in progress.metrics:
            return progress
        if progress.stage not in self._paces:
            self._paces[progress.stage] = Pace(progress.done)
            return progress
        [rate] = self._paces[progress.stage].per_second(progress.done)
        return replace(progress, metrics={**progress.metrics, progress.rate_name: rate}) if rate > 0 else progress


def in_words(progress: Progress) -> str:
    """Say a report in one line: the stage, how far it is, its numbers, and the time that is left."""
    total = f" of {progress.total:,.0f}" if progress.total else ""
    position = f" {progress.done:,.0f}{total} {progress.unit}" if progress.unit else ""
    shown = {name: value for name, value in progress.metrics.items() if name != REMAINING}
    metrics = "".join(f", {name} {value:.4g}" for name, value in shown.items())
    left = time_left(progress)
    return f"{progress.stage}{position}{metrics}{f', {left}' if left else ''}"


def time_left(progress: Progress) -> str:
    """Say how long a stage goes on (``"45 s left"``), or nothing where that is not known or it is at its end."""
    if not (seconds := round(progress.seconds_left or 0)):
        return ""
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return f"{hours:,} h {minutes} min left"
    return f"{minutes} min {seconds % 60} s left" if minutes else f"{seconds} s left"
