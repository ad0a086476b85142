"""`forge attempts`: what each step of a model took, attempt by attempt."""

from rich.table import Table

from forge_assets.attempts import ledger_of
from forge_assets.cli.screen import wide_console
from forge_assets.settings import Settings
from forge_pipelines.ledger.attempts import Attempt
from forge_pipelines.ledger.postgres import postgres


def show_attempts(name: str, settings: Settings) -> int:
    """Print the attempts that were made for a model, a corpus or a source; return 1 when there are none.

    Raises:
        PlatformError: PostgreSQL cannot be reached or does not start.
    """
    console = wide_console()
    with postgres(settings.home, settings.postgres_url):
        attempts = list(ledger_of(settings).of(name))
    if not attempts:
        console.print(f"no step was ever run for {name}", markup=False)
        return 1
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("started", "run", "step", "attempt", "ended", "wall s", "CPU s", "GPU s", "reason"):
        right = column in {"attempt", "wall s", "CPU s", "GPU s"}
        table.add_column(column, justify="right" if right else "left", overflow="fold", no_wrap=column != "reason")
    for attempt in attempts:
        table.add_row(*_cells(attempt))
    console.print(table, markup=False)
    used = [sum(getattr(attempt, f"{kind}_seconds") or 0.0 for attempt in attempts) for kind in ("wall", "cpu", "gpu")]
    counted = [attempt.energy_joules for attempt in attempts if attempt.energy_joules is not None]
    energy = f", {sum(counted):,.0f} J on GPUs (counted in {len(counted)})" if counted else ""
    console.print(f"{len(attempts)} attempts: {used[0]:,.1f} s, {used[1]:,.1f} CPU s, {used[2]:,.1f} GPU s{energy}")
    return 0


def _cells(attempt: Attempt) -> tuple[str, ...]:
    seconds = (attempt.wall_seconds, attempt.cpu_seconds, attempt.gpu_seconds)
    return (
        f"{attempt.started_at.astimezone():%Y-%m-%d %H:%M:%S}",
        attempt.run[:8],
        attempt.step.replace("__", "/"),
        str(attempt.attempt),
        attempt.outcome,
        *("" if value is None else f"{value:,.1f}" for value in seconds),
        attempt.reason or "",
    )
