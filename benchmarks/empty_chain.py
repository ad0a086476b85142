"""A chain of six empty assets on PostgreSQL: Dagster's own multiprocess executor beside Forge's."""

import importlib
import statistics
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg

from forge_assets.instance import dagster_instance
from forge_assets.settings import exported, load_settings

RUNS = 3
ASSETS = 6
MODULE = """
import dagster as dg
{import_executor}


def empty(number):
    @dg.asset(name=f"empty_{{number}}", deps=[f"empty_{{number - 1}}"] if number else [])
    def made() -> None: ...

    return made


def job():
    assets = [empty(number) for number in range({assets})]
    return dg.Definitions(assets, jobs=[dg.define_asset_job("chain")], executor={executor}).resolve_job_def("chain")
"""
EXECUTORS = {
    "multiprocess": ("", "dg.multiprocess_executor"),
    "forge": ("from forge_assets.executor.executor import forge_executor", "forge_executor"),
}


def seconds_of(executor: str, instance: dg.DagsterInstance) -> float:
    job = dg.reconstructable(importlib.import_module(f"chain_by_{executor}").job)
    started = time.monotonic()
    with dg.execute_job(job, instance) as result:
        seconds = time.monotonic() - started
        assert result.success
        assert len(result.filter_events(lambda event: event.is_step_materialization)) == ASSETS
    return seconds


def measure(folder: Path) -> dict[str, list[float]]:
    """Return the seconds of each executor's runs, which alternate; the first of each, a warm-up, is left out."""
    for name, (import_executor, executor) in EXECUTORS.items():
        text = MODULE.format(import_executor=import_executor, executor=executor, assets=ASSETS)
        (folder / f"chain_by_{name}.py").write_text(text)
    sys.path.append(str(folder))
    seconds: dict[str, list[float]] = {name: [] for name in EXECUTORS}
    variables = {"FORGE_HOME": str(folder / "home"), "PYTHONPATH": str(folder)}
    with exported(variables), dagster_instance(load_settings()) as instance:
        for _ in range(RUNS + 1):
            for name, measured in seconds.items():
                measured.append(seconds_of(name, instance))
    return {name: measured[1:] for name, measured in seconds.items()}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(Path(folder))
    medians = {name: statistics.median(measured) for name, measured in seconds.items()}
    for name, measured in seconds.items():
        print(f"{name}: median {medians[name]:.2f} s, {min(measured):.2f} to {max(measured):.2f} of {RUNS} runs")
    print(f"ratio {medians['forge'] / medians['multiprocess']:.2f}")
