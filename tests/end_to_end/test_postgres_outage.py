"""PostgreSQL goes away in the middle of a run: the run goes on or is made again, and nothing published is lost.

`make test` takes it away for 4 and for 20 seconds; `make soak` for 60, too, and prints what was seen.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from embedded_server import server_away
from forge_up_site import Site, wait_until

from forge_assets.instance import dagster_instance
from forge_assets.settings import exported, load_settings
from forge_pipelines.ledger.postgres import connect, postgres
from forge_pipelines.store import Store

DEFINITIONS = """
import time
import dagster as dg
from forge_assets.attempts import attempt
from forge_assets.faults import RETRIES
from forge_assets.metadata import materialization
from forge_assets.platform import forge_platform
from forge_assets.resources import StoreResource
from forge_pipelines.manifest import Classification, StageRequest
from forge_pipelines.store import Made

def letters(name, pauses):
    # It says something, publishes, and says something; the pauses in between are those of a stage that works.
    before, inside, after = pauses

    @dg.asset(key=[name, "raw_documents"], retry_policy=RETRIES)
    def raw_documents(context, forge_store: StoreResource):
        def make(folder):
            say(context, inside)
            (folder / "letters.txt").write_text(name)
            return Made({"documents": 1}, Classification.INTERNAL)

        with attempt(context):
            say(context, before)
            store = forge_store.open()
            day = context.run.tags["day"]
            request = StageRequest(kind="raw_documents", name=name, inputs={}, parameters={}, code_version=day)
            publication = store.obtain(request, make)
            say(context, after)
            return materialization(publication, store, {})

    return raw_documents

def say(context, seconds):
    for second in range(seconds):
        context.log.info(f"said {second} of {seconds}")
        time.sleep(1)

PAUSES = {
    "before": (6, 1, 1), "inside": (1, 6, 1), "after": (0, 0, 6), "later": (1, 1, 1), "unasked": (0, 0, 0),
}
SLOTS = {"execution": {"config": {"max_concurrent": 3}}}
jobs = [
    dg.define_asset_job("most", selection='not key:"unasked/raw_documents"', config=SLOTS),
    dg.define_asset_job("another", selection='key:"unasked/raw_documents"'),
]
assets = [letters(name, pauses) for name, pauses in PAUSES.items()]
defs = dg.Definitions.merge(dg.Definitions(assets=assets, jobs=jobs), forge_platform())
"""
NAMES = ("before", "inside", "after", "later")
LINES = 25  # that the four say
SOAK = "FORGE_SOAK" in os.environ
SECONDS = [4, 20, 60] if SOAK else [4, 20]
LAUNCH_SECONDS = 5
SUCCESS = dg.DagsterRunStatus.SUCCESS
SERVICES = {
    "daemon": "dagster._daemon",
    "code server": "code-server",
    "web UI": "dagster_webserver",
    "MLflow": "mlflow",
}
HEADINGS = (
    "outage | published by then   | run                  | final after | lines said  | reconciled | "
    "launched in | it ended in  | restarted"
)
TABLE: list[str] = []
OTHERS: list[str] = []
soak = pytest.mark.skipif(not SOAK, reason="`make soak` has the time")


class Outage(Site):
    """A site on the embedded server of another FORGE_HOME."""

    def __init__(self, folder: Path, server: Path, address: str) -> None:
        super().__init__(folder, DEFINITIONS, {"FORGE_POSTGRES_URL": address})
        self.server, self.address = server, address
        self.store = Store(str(self.home / "store"), folder / "scratch")

    def launch(self, job: str, day: str, tags: Mapping[str, str] | None = None) -> str:
        return self.client.submit_job_execution(job, tags={"day": day, **(tags or {})})

    def published(self, day: str) -> set[str]:
        """Which of the assets stand in the store for a day."""
        latest = self.store.pointers([f"{name}/raw_documents" for name in NAMES])
        manifests = [self.store.latest(*stage.split("/")) for stage in latest]
        return {manifest.name for manifest in manifests if manifest.code_version == day}

    def service_pids(self) -> dict[str, list[int]]:
        return {title: sorted(found.pid for found in self.services(word)) for title, word in SERVICES.items()}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outage]:
    server = tmp_path_factory.mktemp("server")
    with postgres(server, None) as databases:
        site = Outage(tmp_path_factory.mktemp("site"), server, databases.forge)
        up = site.up()
        yield site
        up.send_signal(signal.SIGINT)
        up.wait(timeout=60)
        site.kill()
    if SOAK:
        sys.stdout.write("\n".join(["", HEADINGS, *TABLE, *OTHERS, ""]))


@pytest.fixture(scope="module")
def instance(site: Outage) -> Iterator[dg.DagsterInstance]:
    named = {"FORGE_HOME": str(site.home), "FORGE_POSTGRES_URL": site.address}
    with exported(named), dagster_instance(load_settings()) as opened:
        yield opened


@pytest.mark.parametrize("seconds", SECONDS)
def test_a_run_goes_on_or_is_made_again_and_nothing_published_is_lost(
    site: Outage, instance: dg.DagsterInstance, seconds: int
) -> None:
    day, services = f"{seconds} s", site.service_pids()
    run = site.launch("most", day)
    assert wait_until(lambda: site.published(day) == {"after"}, 60), instance.get_run_by_id(run)
    with server_away(site.server):
        time.sleep(seconds)
        meanwhile = site.published(day)
    connect(site.address, patience_seconds=60).close()
    back = time.monotonic()
    other = site.launch("another", day)
    launched = time.monotonic() - back
    assert wait_until(lambda: status(instance, other) == SUCCESS, 60), status(instance, other)
    other_seconds = time.monotonic() - back
    assert wait_until(lambda: attempts(instance, run)[-1].status == SUCCESS, 120), attempts(instance, run)
    final = time.monotonic() - back
    assert wait_until(lambda: unreported(site, instance) == [], 40), unreported(site, instance)
    made = attempts(instance, run)
    TABLE.append(
        f"{seconds:4} s | {', '.join(sorted(meanwhile)):20} | {' → '.join(each.status.value for each in made):20} | "
        f"{final:9.1f} s | {lines(instance, run):5} of {LINES} | {len(reconciled(instance)):10} | "
        f"{launched:8.1f} s | {other_seconds:10.1f} s | {restarted(services, site.service_pids())}"
    )
    if len(made) == 1:
        assert lines(instance, run) == LINES
    assert launched < LAUNCH_SECONDS
    if seconds == min(SECONDS):
        assert len(made) == 1, "it goes on"


@soak
def test_what_a_run_that_was_killed_meanwhile_had_published_is_reported_within_one_tick(
    site: Outage, instance: dg.DagsterInstance
) -> None:
    run = site.launch("most", "killed", {"dagster/max_retries": "0"})
    assert wait_until(lambda: site.published("killed") == {"after"}, 60), status(instance, run)
    with server_away(site.server):
        psutil.Process(json.loads((site.home / "runs" / f"{run}.json").read_text())["pid"]).kill()
        time.sleep(4)
    back = time.monotonic()
    assert wait_until(lambda: status(instance, run) == dg.DagsterRunStatus.FAILURE, 60), status(instance, run)
    failed = time.monotonic() - back
    assert wait_until(lambda: unreported(site, instance) == [], 45), unreported(site, instance)
    assert reconciled(instance) == ["after"]
    seconds = time.monotonic() - back
    OTHERS.append(
        f"4 s, its worker killed: failed {failed:.1f} s after, after/raw_documents reconciled {seconds:.1f} s after"
    )


@soak
@pytest.mark.parametrize("age_seconds", [0.5, 1.5, 2.5, 3.5])
def test_a_run_that_is_only_starting_is_made_too(
    site: Outage, instance: dg.DagsterInstance, age_seconds: float
) -> None:
    run = site.launch("another", f"{age_seconds} s old")
    time.sleep(age_seconds)
    before = status(instance, run).value
    with server_away(site.server):
        time.sleep(20)
    back = time.monotonic()
    assert wait_until(lambda: attempts(instance, run)[-1].status == SUCCESS, 120), attempts(instance, run)
    made = " → ".join(each.status.value for each in attempts(instance, run))
    OTHERS.append(f"20 s, a run that was {before}: {made}, {time.monotonic() - back:.1f} s after")


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def attempts(instance: dg.DagsterInstance, run_id: str) -> list[dg.DagsterRun]:
    """A run, and those that were made because it failed, in order of time."""
    again = instance.get_runs(dg.RunsFilter(tags={"dagster/root_run_id": run_id}))
    return [*instance.get_runs(dg.RunsFilter(run_ids=[run_id])), *reversed(again)]


def lines(instance: dg.DagsterInstance, run_id: str) -> int:
    return sum(log.user_message.startswith("said ") for log in instance.all_logs(run_id))


def unreported(site: Outage, instance: dg.DagsterInstance) -> list[str]:
    """What is published and is not the last materialization of its asset."""
    manifests = [site.store.latest(*stage.split("/")) for stage in sorted(site.store.stages())]
    return [found.name for found in manifests if reported(instance, found.name) != found.fingerprint]


def reported(instance: dg.DagsterInstance, name: str) -> str | None:
    event = instance.get_latest_materialization_event(dg.AssetKey([name, "raw_documents"]))
    return (
        (event.asset_materialization.tags or {}).get(DATA_VERSION_TAG)
        if event and event.asset_materialization
        else None
    )


def reconciled(instance: dg.DagsterInstance) -> list[str]:
    """Which assets' last materialization the reconciler reported."""
    events = {name: instance.get_latest_materialization_event(dg.AssetKey([name, "raw_documents"])) for name in NAMES}
    return [
        name
        for name, event in events.items()
        if event and event.asset_materialization and "forge/reconciled" in event.asset_materialization.metadata
    ]


def restarted(before: dict[str, list[int]], after: dict[str, list[int]]) -> str:
    return ", ".join(title for title in before if before[title] != after[title]) or "none"
