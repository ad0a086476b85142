"""`forge gc`: what may go from the store and the scratch folder, shown first, and removed when asked to."""

from collections import Counter
from collections.abc import Iterator

import dagster as dg
from rich.console import Console
from rich.table import Table

from forge_assets.automation.unfinished import unfinished_runs
from forge_assets.instance import forge_environment, open_instance
from forge_assets.resources import forge_resources
from forge_assets.settings import Settings
from forge_pipelines.ledger.postgres import exclusive
from forge_pipelines.manifest import Manifest
from forge_pipelines.places import Remnant
from forge_pipelines.registry.versions import Standing
from forge_pipelines.upkeep.garbage import Garbage, Running, find_garbage, remove_garbage
from forge_pipelines.upkeep.scratch import Scrap

Removed = Manifest | Standing | Remnant | Scrap


def collect_garbage(settings: Settings, *, keep_versions: int, keep_days: float, yes: bool) -> int:
    """Print what may go and why the rest stays; remove it with ``yes``. One at a time works on an installation.

    Args:
        settings: where the store, MLflow and Dagster's records are.
        keep_versions: how many of the last versions of each model stay, besides those that an alias names.
        keep_days: what is younger stays.
        yes: remove, too.

    Returns:
        0.

    Raises:
        DataError: a manifest is damaged, or an alias was given to a version that was to go; the rest stays.
        PlatformError: what is left was asked for meanwhile; or the store, MLflow or PostgreSQL cannot be reached.
    """
    console = Console(soft_wrap=True, highlight=False)
    with (
        forge_environment(settings) as databases,
        exclusive(databases.forge, "forge gc"),
        open_instance(settings.home, databases) as instance,
    ):
        resources = forge_resources(settings)
        store, tracking = resources["forge_store"].open(), resources["forge_registry"].open()

        def running() -> Running:
            return what_runs(instance)

        garbage = find_garbage(store, tracking, running, keep_versions=keep_versions, keep_days=keep_days)
        for part in _shown(garbage):
            console.print(part, soft_wrap=isinstance(part, str))
        if not yes:
            console.print("nothing was removed; `forge gc --yes` removes it" if garbage.parts else "nothing may go")
            return 0
        freed = _Freed()
        try:
            remove_garbage(garbage, store, tracking, running, freed.add)
        finally:
            console.print(f"removed {freed.parts:,} parts from {store.address}: {in_units(freed.num_bytes)} freed")
    return 0


def what_runs(instance: dg.DagsterInstance) -> Running:
    """Say what the runs in progress make, and when the first of them began."""
    runs = unfinished_runs(instance)
    names = frozenset(asset.path[0] for run in runs for asset in run.made)
    return Running(names, min((run.since for run in runs), default=None))


def in_units(num_bytes: float) -> str:
    """Write a number of bytes as people read it."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.1f} TB"


class _Freed:
    """What has gone so far."""

    def __init__(self) -> None:
        self.parts = 0
        self.num_bytes = 0

    def add(self, removed: Removed) -> None:
        self.parts += 1
        self.num_bytes += 0 if isinstance(removed, Standing) else removed.num_bytes


def _shown(garbage: Garbage) -> Iterator[Table | str]:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("goes", "number", "size"):
        table.add_column(column, justify="left" if column == "goes" else "right")
    numbers: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for part in garbage.parts:
        numbers[_title(part)] += 1
        sizes[_title(part)] += part.num_bytes
    numbers.update(f"{version.model}: versions in MLflow" for version in garbage.plan.retiring.values())
    for title, number in sorted(numbers.items()):
        table.add_row(title, f"{number:,}", in_units(sizes[title]) if sizes[title] else "")
    if numbers:
        yield table
        yield f"together {in_units(garbage.num_bytes)}"
    for reason, number in Counter(garbage.plan.staying.values()).most_common():
        yield f"stays    {number:,}: {reason}"


def _title(part: Manifest | Remnant | Scrap) -> str:
    match part:
        case Manifest():
            return f"{part.name}/{part.kind}"
        case Remnant():
            return f"{part.name}: left by what was killed"
        case Scrap():
            return f"{part.name}: {part.what}"
