"""Near-copies: seconds, recall and precision beside datatrove's MinHash, and whether any stands across the split.

`python benchmarks/near_duplicates.py [--quick]`. Real documents of this machine with planted copies of known
similarity; both sides on one core, in turn. `running/peer.py` makes datatrove's own environment.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from near_copies.documents import NUM_DOCUMENTS, Text, documents, jaccard, write
from running.children import spread
from running.peer import datatrove_python

ROUNDS, QUICK_EVERY = 3, 10
COPY, NEAR = 0.8, 0.5

_HERE = Path(__file__).parent / "near_copies"
_STEPS = (0.8, 0.85, 0.9, 1.0)


def main(*, quick: bool) -> None:
    texts = documents(NUM_DOCUMENTS // QUICK_EVERY if quick else NUM_DOCUMENTS)
    pythons = {"forge": Path(sys.executable), "datatrove": datatrove_python()}
    announce(texts)
    taken: dict[str, list[dict[str, Any]]] = {side: [] for side in pythons}
    with tempfile.TemporaryDirectory() as work:
        write(texts, Path(work, "documents.jsonl"))
        for _ in range(1 if quick else ROUNDS):
            for side, python in pythons.items():
                taken[side].append(_once(python, side, Path(work)))
    for side, runs in taken.items():
        print(f"  {side:<10}{_seconds(runs)}; {judged(texts, runs[0]['removed'])}")
    ratios = [theirs["seconds"] / ours["seconds"] for ours, theirs in zip(*taken.values(), strict=True)]
    signing = statistics.median(run["signing_seconds"] / run["seconds"] for run in taken["datatrove"])
    print(f"  ratio {spread(ratios, '.1f')}; {signing:.0%} of datatrove's time is its first stage")
    print(f"  {across(texts, taken['forge'][0])}")


def announce(texts: list[Text]) -> None:
    megabytes = sum(len(each.text.encode()) for each in texts) / 1e6
    planted = [each.jaccard for each in texts if each.jaccard is not None]
    num_python = sum(each.name.endswith(".py") and each.jaccard is None for each in texts)
    print(
        f"near-copies: {len(texts):,} documents, {megabytes:.0f} MB: {len(texts) - len(planted) - num_python:,} of "
        f"prose, {num_python:,} Python sources, {len(planted)} planted copies of Jaccard similarity {min(planted):.2f} "
        f"to {max(planted):.2f}; one core each (load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores before)",
        flush=True,
    )


def judged(texts: list[Text], removed: dict[str, str]) -> str:
    """Say which share of the planted copies is found, and which share of what is removed is like what stands for it."""
    by_name = {each.name: each.text for each in texts}
    parts = []
    for least, below in [(COPY, 1.0), *pairwise(_STEPS)]:
        copies = [each for each in texts if each.jaccard is not None and least <= each.jaccard < below]
        found = sum(bool(removed.keys() & {each.name, each.original}) for each in copies)
        parts.append(
            f"{found / len(copies):.3f} of {len(copies)} from {least:g}" + (f" to {below:g}" if below < 1 else "")
        )
    alike = [jaccard(by_name[gone], by_name[stands]) for gone, stands in removed.items()]
    right = sum(each >= COPY for each in alike)
    return f"recall {', '.join(parts)}; {len(alike)} removed, precision {right / len(alike):.3f}"


def across(texts: list[Text], run: dict[str, Any]) -> str:
    """Say how many planted copies, of those that are kept with their original, are in the other part of the split."""
    parts = run["parts"]
    near = [each for each in texts if each.jaccard is not None and each.jaccard >= NEAR]
    both = [each for each in near if each.name in parts and each.original in parts]
    apart = sum(parts[each.name] != parts[each.original] for each in both)
    heldout = sum(part == "heldout" for part in parts.values())
    return (
        f"forge's split by half: {heldout} of {len(parts)} held out; {len(both)} planted copies of similarity {NEAR} "
        f"and more are kept with their original, {apart} of them in the other part; {run['torn']} documents rejected "
        "as near to both parts"
    )


def _once(python: Path, side: str, work: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=work) as folder:
        result = subprocess.run(
            [python, _HERE / f"{side}_once.py", work / "documents.jsonl", folder],
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1]),
        )
    if result.returncode != 0:
        sys.exit(f"near_duplicates: {side} failed: {result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def _seconds(runs: list[dict[str, Any]]) -> str:
    wall, used = ([run[name] for run in runs] for name in ("seconds", "cpu_seconds"))
    return f"{spread(wall, '.2f')} s, {statistics.median(used):.2f} s of CPU"


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
