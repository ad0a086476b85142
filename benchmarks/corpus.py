"""From extracted text to a validated corpus: speed beside datatrove's pipeline, memory, and what a change costs.

`python benchmarks/corpus.py [--quick] [pipeline] [memory] [change]`: all three where none is named. Set FORGE_CACHE to
say where datatrove's environment and the files that it fetches stand.

Languages are left out of `pipeline`: datatrove's classifier is a download, and Forge's told the language when the
source was read. Nor do Forge's rules of quality judge code, which datatrove's do: `prose` has none, `mix` mostly that.
What Forge does beyond the steps that both do is timed, too: normalising and mending encodings, keeping what is
rejected, the split with near-copies on one side of it, expectations, Data Docs, the report.
"""

import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from making_corpora.jobs import Made, every_rule, make, make_watched, source_fields, store_in
from making_corpora.sides import SIDES, Corpus, Prepared
from making_corpora.texts import publish, texts, write_files
from near_copies.documents import NUM_DOCUMENTS, Text, documents
from reading import estates
from running.children import spread

ROUNDS = 3
QUICK_EVERY = 4
CORES = (1, 2)
FEW_DOCUMENTS, FEW_CHARACTERS = 600, 600
"""A corpus that costs next to nothing but what any corpus costs: libraries loaded, processes started."""

MEMORY_GB, QUICK_MEMORY_GB = (1.0, 3.0), (0.1, 0.3)
TEXT_FILES, QUICK_TEXT_FILES = 25_000, 2_500
CHANGED_SHARE = 0.01


def pipeline(work: Path, *, quick: bool) -> None:
    """Show seconds of Forge and of datatrove for the same documents, in turn, and what both keep."""
    everything = documents(NUM_DOCUMENTS)[:: QUICK_EVERY if quick else 1]
    few = Prepared(list(islice(texts(FEW_CHARACTERS), FEW_DOCUMENTS)), work / "few")
    fixed = {num_cores: _rounds(few, num_cores, 1 if quick else ROUNDS) for num_cores in CORES}
    for kind, those in {"prose": [each for each in everything if _is_prose(each)], "mix": everything}.items():
        prepared = Prepared([each.text for each in those], work / kind)
        megabytes = sum(len(each.text.encode()) for each in those) / 1e6
        told = ", ".join(f"{media_type} {number:,}" for media_type, number in prepared.media_types.most_common())
        announce(f"pipeline, {kind}: {len(those):,} documents, {megabytes:.1f} MB ({told})")
        for num_cores in CORES:
            runs = _rounds(prepared, num_cores, 1 if quick else ROUNDS)
            show_rounds(num_cores, runs, fixed[num_cores])
        show_kept(*(runs[side][0] for side in SIDES))
        shutil.rmtree(work / kind)


def _rounds(prepared: Prepared, num_cores: int, number: int) -> dict[str, list[Corpus]]:
    runs: dict[str, list[Corpus]] = {side: [] for side in SIDES}
    for _ in range(number):
        for side in SIDES:
            runs[side].append(prepared.make(side, num_cores))
    return runs


def _is_prose(text: Text) -> bool:
    return not (text.original or text.name).endswith(".py")


def show_rounds(num_cores: int, runs: dict[str, list[Corpus]], fixed: dict[str, list[Corpus]]) -> None:
    """Show both measures of each side and their ratio, round by round; and that of CPU without what a few cost."""
    print(f"  {num_cores} core{'s' * (num_cores - 1)}")
    pairs: list[tuple[float, float]] = []
    few: dict[str, float] = {}
    for title, measure in (("s", "seconds"), ("s of CPU", "cpu_seconds")):
        taken = {side: [getattr(run.ended, measure) for run in runs[side]] for side in SIDES}
        few = {side: statistics.median(getattr(run.ended, measure) for run in fixed[side]) for side in SIDES}
        pairs = list(zip(*taken.values(), strict=True))
        ratios = [theirs / ours for ours, theirs in pairs]
        sides = "; ".join(f"{side} {spread(taken[side], '.1f')} {title}, a few {few[side]:.1f}" for side in SIDES)
        print(f"    {sides}; ratio {spread(ratios, '.1f')}, rounds {', '.join(f'{ratio:.1f}' for ratio in ratios)}")
    rest = [(theirs - few["datatrove"]) / (ours - few["forge"]) for ours, theirs in pairs]
    print(f"    ratio of CPU without what a few documents cost: {spread(rest, '.1f')}", flush=True)


def show_kept(ours: Corpus, theirs: Corpus) -> None:
    both = len(ours.kept & theirs.kept)
    print(f"  kept: forge {len(ours.kept):,}, datatrove {len(theirs.kept):,}, both {both:,}")
    for side, corpus in zip(SIDES, (ours, theirs), strict=True):
        rejected = ", ".join(f"{rule} {number:,}" for rule, number in sorted(corpus.rejected.items()))
        print(f"    rejected by {side}: {rejected}", flush=True)


def memory(work: Path, *, quick: bool) -> None:
    """Show the most memory that all processes hold together, at two sizes of corpora, and what a document adds."""
    held, numbers = [], []
    for gigabytes in QUICK_MEMORY_GB if quick else MEMORY_GB:
        store = work / "large"
        manifest = publish(store_in(store), round(gigabytes * 1e9))
        announce(f"memory: {manifest.counts['documents']:,} documents, {gigabytes:g} GB")
        made, most = make_watched(store, {"corpus": every_rule(work), "manifest": manifest.model_dump(mode="json")})
        held.append(most)
        numbers.append(made.documents)
        print(
            f"  {most.rss / 2**30:.2f} GiB (RSS of all processes; PSS {most.pss / 2**30:.2f} GiB), "
            f"{made.ended.seconds:.0f} s, {made.ended.cpu_seconds:.0f} s of CPU, {_kept(made):,} documents kept",
            flush=True,
        )
        shutil.rmtree(store)
    added = numbers[-1] - numbers[0]
    rss, pss = ((getattr(held[-1], name) - getattr(held[0], name)) / added for name in ("rss", "pss"))
    print(f"  added by each further document: {rss:.0f} bytes (RSS), {pss:.0f} bytes (PSS)", flush=True)


def change(work: Path, *, quick: bool) -> None:
    """Show what a changed hundredth of the files costs from source to corpus, and what none, beside all of them."""
    plain = work / "plain"
    _changed("text", plain, write_files(plain, QUICK_TEXT_FILES if quick else TEXT_FILES), append_to_texts)
    files = [*estates.html_files()[:: QUICK_EVERY if quick else 1], *estates.pdf_files()]
    _changed("HTML and PDF", estates.copy(files, work / "pages"), files, estates.change)


def _changed(kind: str, folder: Path, files: Sequence[Path], change_some: Callable[[Path, float, int], int]) -> None:
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    announce(f"change, {kind}: {len(files):,} files, {megabytes:,.0f} MB")
    store = folder.with_name(f"{folder.name}-store")
    asked = {"source": source_fields(folder), "corpus": every_rule(store)}
    full = make(store, asked)
    print(f"  all files: {_stages([full])}, {_kept(full):,} of {full.documents:,} documents kept", flush=True)
    some = []
    for turn in range(ROUNDS):
        num_changed = change_some(folder, CHANGED_SHARE, turn)
        some.append(make(store, asked))
        assert some[-1].worked == ("source", "corpus")
    none = [make(store, asked) for _ in range(ROUNDS)]
    for what, runs in ((f"{num_changed} of them changed", some), ("nothing changed", none)):
        share = statistics.median(run.ended.seconds for run in runs) / full.ended.seconds
        worked = {stage for run in runs for stage in run.worked}
        print(
            f"  {what}: {_stages(runs)}, {share:.1%} of the full; worked: {', '.join(sorted(worked)) or 'no stage'}",
            flush=True,
        )


def append_to_texts(folder: Path, share: float, turn: int) -> int:
    """Write a further paragraph into some of a folder's texts, others at each turn; return how many."""
    paths = sorted(folder.rglob("*.txt"))
    chosen = paths[turn :: round(1 / share)]
    for path in chosen:
        path.write_text(f"{path.read_text()}\n\nParagraph {turn} was written later.")
    return len(chosen)


def _stages(runs: Sequence[Made]) -> str:
    whole = spread([run.ended.seconds for run in runs], ".2f")
    each = (f"{stage} {statistics.median(run.seconds[stage] for run in runs):.2f}" for stage in ("source", "corpus"))
    return f"{whole} s ({', '.join(each)})"


def _kept(made: Made) -> int:
    return sum(made.corpus.counts[part] for part in ("train", "heldout"))


def announce(what: str) -> None:
    print(f"{what}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores before", flush=True)


FIGURES = {figure.__name__: figure for figure in (pipeline, memory, change)}


if __name__ == "__main__":
    named = [argument for argument in sys.argv[1:] if argument != "--quick"]
    if not FIGURES.keys() >= set(named):
        sys.exit(f"bench-corpus: it shows {', '.join(FIGURES)}, not {' '.join(named)}")
    for name in named or FIGURES:
        with tempfile.TemporaryDirectory() as folder:
            FIGURES[name](Path(folder), quick="--quick" in sys.argv)
