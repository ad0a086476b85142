"""Where a stage's progress is shown: in the run's log now and then, and live to whoever listens (the terminal)."""

import time
from contextvars import ContextVar

import dagster as dg

from forge_pipelines.progress import OnProgress, Progress, silent

LISTENER: ContextVar[OnProgress] = ContextVar("listener", default=silent)
"""Who watches the stages that run in this process."""

_SECONDS_BETWEEN_LOGS = 10.0


def watch(context: dg.AssetExecutionContext, *others: OnProgress) -> OnProgress:
    """Return an ``on_progress`` that feeds the run's log, the listener, and ``others``."""
    last_log = 0.0
    listener = LISTENER.get()

    def report(progress: Progress) -> None:
        nonlocal last_log
        for other in (listener, *others):
            other(progress)
        now = time.monotonic()
        if progress.message:
            context.log.info(progress.message)
        elif now - last_log >= _SECONDS_BETWEEN_LOGS:
            last_log = now
            context.log.info(in_words(progress))

    return report


def in_words(progress: Progress) -> str:
    """Say a report in one line: the stage, how far it is, and its numbers."""
    total = f" of {progress.total:,.0f}" if progress.total else ""
    position = f" {progress.done:,.0f}{total} {progress.unit}" if progress.unit else ""
    metrics = "".join(f", {name} {value:.4g}" for name, value in progress.metrics.items())
    return f"{progress.stage}{position}{metrics}"
