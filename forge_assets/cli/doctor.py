"""`forge doctor`: what this machine has and what is missing, with the remedy for each."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import psutil
from rich.console import Console
from rich.table import Table

from forge_assets.settings import Settings
from forge_pipelines.errors import PlatformError
from forge_pipelines.gpu.inventory import devices
from forge_pipelines.ledger.postgres import postgres

_GIB = 1 << 30


class Finding(NamedTuple):
    """One thing looked at: how it is, and what to do about it."""

    what: str
    state: Literal["ok", "warning", "missing"]
    detail: str
    remedy: str = ""


def examine(settings: Settings) -> int:
    """Print the findings; return 1 when something that Forge cannot do without is missing."""
    console = Console(highlight=False)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("", "what", "found", "remedy"):
        table.add_column(column, overflow="fold")
    findings = list(look(settings))
    marks = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "missing": "[red]✗[/]"}
    for finding in findings:
        table.add_row(marks[finding.state], finding.what, finding.detail, finding.remedy)
    console.print(table)
    return 1 if any(finding.state == "missing" for finding in findings) else 0


def look(settings: Settings) -> Iterator[Finding]:
    """Look at everything that Forge needs."""
    yield _python()
    yield _compiler()
    yield _gpus(settings)
    yield _home(settings.home)
    yield _postgres(settings)
    yield _free_disk(settings.home)
    yield _memory()
    yield _shared_memory()


def _python() -> Finding:
    found = f"Python {platform.python_version()}"
    if sys.version_info[:2] == (3, 11):
        return Finding("Python", "ok", found)
    return Finding("Python", "missing", found, "install Python 3.11 and run make again")


def _compiler() -> Finding:
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler:
        return Finding("C++ compiler", "ok", compiler)
    remedy = "install g++ (Debian: apt install g++); on GPUs DeepSpeed compiles operations"
    return Finding("C++ compiler", "warning", "none on PATH", remedy)


def _gpus(settings: Settings) -> Finding:
    found = devices(settings.gpu_inventory)
    if found:
        return Finding("GPUs", "ok", ", ".join(f"{gpu.name} ({gpu.memory_bytes // _GIB} GiB)" for gpu in found))
    return Finding("GPUs", "warning", "no NVIDIA device or driver", "training and evaluation run on the CPU")


def _home(home: Path) -> Finding:
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    if os.access(existing, os.W_OK | os.X_OK):
        return Finding("FORGE_HOME", "ok", str(home))
    return Finding(
        "FORGE_HOME", "missing", f"{existing} is not writable", "set FORGE_HOME to a folder that you may write"
    )


def _postgres(settings: Settings) -> Finding:
    which = "the server of FORGE_POSTGRES_URL" if settings.postgres_url else "embedded"
    try:
        with postgres(settings.home, settings.postgres_url):
            return Finding("PostgreSQL", "ok", f"{which}, answers")
    except PlatformError as error:
        return Finding(
            "PostgreSQL", "missing", str(error), "start it, or unset FORGE_POSTGRES_URL for the embedded one"
        )


def _free_disk(home: Path) -> Finding:
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free / _GIB
    if free >= 5:
        return Finding("Disk", "ok", f"{free:,.0f} GiB free for {home}")
    return Finding(
        "Disk", "warning", f"{free:,.1f} GiB free for {home}", "free some space, or set FORGE_HOME elsewhere"
    )


def _memory() -> Finding:
    total = psutil.virtual_memory().total / _GIB
    if total >= 4:
        return Finding("Memory", "ok", f"{total:,.0f} GiB")
    return Finding("Memory", "warning", f"{total:,.1f} GiB", "train smaller models, or add memory")


def _shared_memory() -> Finding:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Finding(
            "Shared memory", "warning", "no /dev/shm", "mount one: several ranks on a machine talk through it"
        )
    size = shutil.disk_usage(folder).total / _GIB
    if size >= 1:
        return Finding("Shared memory", "ok", f"{size:,.1f} GiB")
    remedy = "give the container more (--shm-size=2g): several ranks talk through it"
    return Finding("Shared memory", "warning", f"{size:,.2f} GiB", remedy)
