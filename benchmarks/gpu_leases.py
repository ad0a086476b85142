"""Leases under load: 200 steps, each a process of its own, ask for 1 to 8 of 8 declared devices at random times."""

import json
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from forge_pipelines.gpu.inventory import Device
from forge_pipelines.gpu.leases import Leases
from forge_pipelines.gpu.line import Holder
from forge_pipelines.gpu.request import GpuRequest

STEPS = 200
DEVICES = 8
SEED = 4
ASKED_WITHIN_SECONDS = 20.0
HELD_SECONDS = (0.1, 0.4)
IDLE_SECONDS = 0.02
LATE_SECONDS = 0.05
INVENTORY = tuple(
    Device(index=index, uuid=f"GPU-{index}", name="NVIDIA H100", memory_bytes=80 << 30, simulated=True)
    for index in range(DEVICES)
)


@dataclass(frozen=True)
class Plan:
    asked_after: float
    count: int
    held_for: float


@dataclass(frozen=True)
class Done:
    """What one step saw; times in seconds of the machine's monotonic clock."""

    count: int
    devices: list[str]
    asked: float
    got: float
    gave: float
    gone: float


def plans() -> list[Plan]:
    dice = random.Random(SEED)
    return [
        Plan(dice.uniform(0, ASKED_WITHIN_SECONDS), dice.randint(1, DEVICES), dice.uniform(*HELD_SECONDS))
        for _ in range(STEPS)
    ]


def step(number: int, plan: Plan, start: float, folder: Path) -> None:
    leases = Leases(folder / "leases", lambda: INVENTORY)
    holder = Holder.here(f"{number:08}", "step")
    time.sleep(max(0.0, start + plan.asked_after - time.monotonic()))
    asked = time.monotonic()
    with leases.lease(GpuRequest(count=plan.count), holder, lambda _: None) as lease:
        got = time.monotonic()
        time.sleep(plan.held_for)
        gave = time.monotonic()
    done = Done(plan.count, [device.uuid for device in lease.devices], asked, got, gave, time.monotonic())
    (folder / f"{number}.json").write_text(json.dumps(asdict(done)))


def run(folder: Path) -> list[Done]:
    forked = multiprocessing.get_context("fork")
    start = time.monotonic() + 1.0
    steps = [forked.Process(target=step, args=(number, plan, start, folder)) for number, plan in enumerate(plans())]
    for process in steps:
        process.start()
    for process in steps:
        process.join()
    done = [Done(**json.loads((folder / f"{number}.json").read_text())) for number in range(STEPS)]
    return sorted(done, key=lambda one: one.got)


def shared(done: Sequence[Done]) -> int:
    """Count the pairs of steps that held a device at the same time."""
    times = 0
    for device in INVENTORY:
        holders = sorted((one.got, one.gave) for one in done if device.uuid in one.devices)
        times += sum(later[0] < earlier[1] for earlier, later in pairwise(holders))
    return times


def fits_at(count: int, not_before: float, held: Sequence[tuple[float, int]]) -> float:
    """Return when that many devices are free at the earliest; ``held`` is until when how many are not."""
    moments = sorted({not_before, *(until for until, _ in held if until > not_before)})
    return next(t for t in moments if DEVICES - sum(number for until, number in held if until > t) >= count)


def idle_seconds(done: Sequence[Done]) -> list[float]:
    """Return for each step, in the order of service, how long it was at the head and fitted without having devices."""
    before, held, idle = 0.0, list[tuple[float, int]](), list[float]()
    for one in done:
        idle.append(one.got - fits_at(one.count, max(one.asked, before), held))
        held.append((one.gone, one.count))
        before = one.got
    return idle


def ideal_end(done: Sequence[Done]) -> float:
    """Return when the last step would end if leases cost nothing, in the same order of asking."""
    start, held = 0.0, list[tuple[float, int]]()
    for one in done:
        start = fits_at(one.count, max(one.asked, start), held)
        held.append((start + one.gave - one.got, one.count))
    return max(until for until, _ in held)


def milliseconds(seconds: Sequence[float]) -> str:
    median, p95 = statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]
    return f"median {1000 * median:.1f} ms, p95 {1000 * p95:.1f} ms, longest {1000 * max(seconds):.1f} ms"


def show(done: Sequence[Done]) -> None:
    began, ended = min(one.asked for one in done), max(one.gave for one in done)
    busy = sum(one.count * (one.gave - one.got) for one in done) / DEVICES
    ideal = ideal_end(done) - began
    idle = idle_seconds(done)
    overhead = [waited + one.gone - one.gave for waited, one in zip(idle, done, strict=True)]
    overtaken = sum(earlier.asked - later.asked > LATE_SECONDS for earlier, later in pairwise(done))
    print(f"{STEPS} steps over {DEVICES} devices in {ended - began:.1f} s on {os.cpu_count()} cores")
    print(f"devices shared: {shared(done)} times; overtaken in the queue: {overtaken} steps")
    print(
        f"the head fitted and devices idled over {1000 * IDLE_SECONDS:.0f} ms: "
        f"{sum(one > IDLE_SECONDS for one in idle)} times, over {1000 * LATE_SECONDS:.0f} ms: "
        f"{sum(one > LATE_SECONDS for one in idle)} times"
    )
    print(f"lease and release, over the wait for others: {milliseconds(overhead)}")
    print(f"longest wait: {max(one.got - one.asked for one in done):.1f} s")
    print(
        f"utilisation {busy / (ended - began):.3f}, ideal packing in the same order {busy / ideal:.3f}: "
        f"ratio {ideal / (ended - began):.3f}"
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        show(run(Path(folder)))
