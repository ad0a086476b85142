"""Training beside a bare PyTorch loop and plain transformers Trainer, bf16 beside fp32, and what a checkpoint costs.

`python benchmarks/training.py [--quick]`. On two cores of the CPU, each side in a process of its own, in turn. The
speed is that of the steps, with their log and one checkpoint among them; the seconds are those of the whole process,
from its start to the finished model. Threads of all sides wait asleep, so that what else the machine does hits all
alike. `order_function.py` is the last part.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from running.children import run, spread
from trainings.shapes import LARGE, recipe

from forge_pipelines.training.precision import settled_precision

ROUNDS, STEPS, QUICK_STEPS = 3, 60, 10
BF16_STEPS, SAVES, FIRST_SAVES = 20, 5, 3
GIGABYTE = 10**9

_HERE = Path(__file__).parent
_CACHE = Path(os.environ.get("FORGE_CACHE") or "~/.cache/forge-benchmarks").expanduser()

Figures = dict[str, Any]


def main(*, quick: bool) -> None:
    load = os.getloadavg()[0]
    print(f"training on 2 cores (load {load:.1f} before on {os.cpu_count()} cores)", flush=True)
    with tempfile.TemporaryDirectory(dir=_CACHE) as folder:
        work = Path(folder)
        compare(work, 1 if quick else ROUNDS, QUICK_STEPS if quick else STEPS)
        precisions(work, QUICK_STEPS // 2 if quick else BF16_STEPS)
        saving(work, 2 if quick else SAVES)
    subprocess.run([sys.executable, _HERE / "order_function.py"], check=True)


def compare(work: Path, rounds: int, steps: int) -> None:
    """Train the same on each side."""
    changes = {"steps": steps, "checkpoint_every_steps": steps // 2}
    taken: dict[str, list[Figures]] = {"forge": [], "bare": [], "trainer": []}
    for _ in range(rounds):
        for side, runs in taken.items():
            runs.append(_once(side, work, changes))
    print(f"  a Mistral of {taken['forge'][0]['parameters']:,} parameters, 512 tokens, batch 8, fp32, {steps} steps")
    for side, runs in taken.items():
        speed, seconds, used = ([each[key] for each in runs] for key in ("tokens_per_second", "seconds", "cpu_seconds"))
        cpu = f"{statistics.median(used):.1f} s of CPU"
        whole = f"{spread(seconds, '.1f')} s in all, {cpu}, final loss {runs[0]['loss']:.4f}"
        print(f"  {side:<8}{spread(speed, ',.0f')} tokens/s in its steps; {whole}", flush=True)
    for peer in ("bare", "trainer"):
        pairs = list(zip(taken["forge"], taken[peer], strict=True))
        speed = [ours["tokens_per_second"] / theirs["tokens_per_second"] for ours, theirs in pairs]
        whole = [theirs["seconds"] / ours["seconds"] for ours, theirs in pairs]
        print(f"  forge / {peer}: {spread(speed, '.3f')} in the steps, {spread(whole, '.3f')} in all", flush=True)


def precisions(work: Path, steps: int) -> None:
    """Train in both precisions, and say which one would be chosen."""
    both = {
        each: _once("forge", work, {"steps": steps, "precision": each})["tokens_per_second"]
        for each in ("fp32", "bf16")
    }
    chosen = settled_precision(recipe(precision="auto"))
    print(f"  bf16 / fp32: {both['bf16'] / both['fp32']:.2f}; auto chooses {chosen} on this CPU", flush=True)


def saving(work: Path, times: int) -> None:
    """Train with a gigabyte of state, a checkpoint after every other step, beside plain saves.

    The first saves of each side do not count: they are written where the disk held nothing before. After them, a
    training writes over the files of its oldest checkpoint, and a plain save is a new file; then the oldest goes.
    """
    in_all = times + FIRST_SAVES
    changes = {
        "architecture": LARGE,
        "steps": 2 * in_all + 2,
        "batch_sequences": 1,
        "checkpoint_every_steps": 2,
    }
    told = dict(_once("forge", work, changes)["times"])
    gaps = {step: told[step] - told[step - 1] for step in told if step - 1 in told}
    usual = statistics.median(gap for step, gap in gaps.items() if step % 2 == 0)
    stalls = [gap - usual for step, gap in sorted(gaps.items()) if step % 2 == 1][FIRST_SAVES:]
    save = [sys.executable, _HERE / "trainings/plain_save_once.py", work, str(in_all), str(GIGABYTE)]
    plain = json.loads(run(save).said)[FIRST_SAVES:]
    print(
        f"  1 GB of state: training stalls {spread(stalls, '.2f')} s, a plain save takes {spread(plain, '.2f')} s: ",
        end="",
    )
    print(f"ratio {statistics.median(stalls) / statistics.median(plain):.2f}", flush=True)


def _once(side: str, work: Path, changes: Figures) -> Figures:
    script = _HERE / "trainings" / f"{side}_once.py"
    ended = run([sys.executable, script, work, _CACHE, json.dumps(changes)])
    return dict(json.loads(ended.said))


if __name__ == "__main__":
    _CACHE.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    main(quick="--quick" in sys.argv)
