"""Reading sources: speed beside the bare libraries, what a change and no change cost, and memory.

`python benchmarks/sources.py [--quick] [speed] [change] [unchanged] [memory]`: all four where none is named. Set
FORGE_CACHE to say where the files stand that it fetches.
"""

import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from reading import estates
from reading.measuring import Measured, read, read_watched
from running.children import spread

ROUNDS = 3
QUICK_EVERY = 4
CHANGED_SHARE = 0.01
UNCHANGED_FILES, QUICK_UNCHANGED_FILES = 100_000, 10_000
MEMORY_GB, QUICK_MEMORY_GB = (1.0, 3.0), (0.1, 0.3)
WAYS = (("bare", 1), ("forge", 1), ("forge", 2))


def speed(work: Path, *, quick: bool) -> None:
    """Show documents a second of Forge, with one reading process and with two, beside the bare loop on one core."""
    html, pdf = html_files(quick=quick), estates.pdf_files()
    for kind, files in {"HTML": html, "PDF": pdf, "mix": [*html, *pdf]}.items():
        folder = estates.copy(files, work / kind)
        announce(f"speed, {kind}", files)
        taken: dict[tuple[str, int], list[Measured]] = {way: [] for way in WAYS}
        for _ in range(ROUNDS):
            for mode, num_cores in WAYS:
                taken[mode, num_cores].append(read(mode, folder, work / "store", num_cores))
                shutil.rmtree(work / "store", ignore_errors=True)
        for (mode, num_cores), runs in taken.items():
            show_speed(f"{mode}, {num_cores} core{'s' * (num_cores - 1)}", runs, taken["bare", 1])


def show_speed(way: str, runs: list[Measured], peers: list[Measured]) -> None:
    rates = [run["documents"] / run["seconds"] for run in runs]
    ratios = [rate * peer["seconds"] / peer["documents"] for rate, peer in zip(rates, peers, strict=True)]
    cpu_seconds = [run["cpu_seconds"] for run in runs]
    print(
        f"  {way:<14} {runs[0]['documents']:>5} documents, {spread(rates, '.1f')} a second, ratio "
        f"{spread(ratios, '.2f')}; {spread(cpu_seconds, '.1f')} s of CPU",
        flush=True,
    )


def change(work: Path, *, quick: bool) -> None:
    """Show what a changed hundredth of the files costs beside reading all of them."""
    files = [*html_files(quick=quick), *estates.pdf_files()]
    folder, store = estates.copy(files, work / "changing"), work / "changing-store"
    announce("1 % changed", files)
    full = read("forge", folder, store)["seconds"]
    seconds = []
    for turn in range(ROUNDS):
        num_changed = estates.change(folder, CHANGED_SHARE, turn)
        seconds.append(read("forge", folder, store)["seconds"])
    share = statistics.median(seconds) / full
    print(
        f"  all files {full:.1f} s; {num_changed} of them changed {spread(seconds, '.2f')} s, {share:.1%}", flush=True
    )


def unchanged(work: Path, *, quick: bool) -> None:
    """Show what files cost that have not changed."""
    files = estates.small_texts(work / "unchanged", QUICK_UNCHANGED_FILES if quick else UNCHANGED_FILES)
    store = work / "unchanged-store"
    announce("nothing changed", files)
    full = read("forge", work / "unchanged", store)["seconds"]
    seconds = [read("forge", work / "unchanged", store)["seconds"] for _ in range(ROUNDS)]
    print(f"  all files {full:.1f} s; nothing changed {spread(seconds, '.2f')} s", flush=True)


def memory(work: Path, *, quick: bool) -> None:
    """Show the most memory that all processes hold together, at two sizes of estates."""
    for gigabytes in QUICK_MEMORY_GB if quick else MEMORY_GB:
        folder, store = work / "large", work / "large-store"
        files = estates.large_estate(folder, round(gigabytes * 1e9))
        announce(f"memory, {gigabytes:g} GB", files)
        measured, most_bytes = read_watched(folder, store)
        again, most_again = read_watched(folder, store)
        print(f"  all files: {most_bytes / 2**30:.2f} GiB (PSS of all processes), {measured['seconds']:.0f} s")
        print(f"  nothing changed: {most_again / 2**30:.2f} GiB, {again['seconds']:.1f} s", flush=True)
        shutil.rmtree(folder)
        shutil.rmtree(store)


def html_files(*, quick: bool) -> list[Path]:
    return estates.html_files()[:: QUICK_EVERY if quick else 1]


def announce(what: str, files: list[Path]) -> None:
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores before"
    print(f"{what}: {len(files):,} files, {megabytes:,.0f} MB ({load})", flush=True)


FIGURES = {figure.__name__: figure for figure in (speed, change, unchanged, memory)}


if __name__ == "__main__":
    named = [argument for argument in sys.argv[1:] if argument != "--quick"]
    if not FIGURES.keys() >= set(named):
        sys.exit(f"bench-sources: it shows {', '.join(FIGURES)}, not {' '.join(named)}")
    for name in named or FIGURES:
        with tempfile.TemporaryDirectory() as folder:
            FIGURES[name](Path(folder), quick="--quick" in sys.argv)
