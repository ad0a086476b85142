"""Automation under `forge up`: turned on in the web UI, one new document is one run and one version, and no more."""

import json
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from company import Company
from ports import free_port

from forge_pipelines.manifest import Classification
from forge_pipelines.sources.config import Labels, SourceConfig
from forge_pipelines.sources.places.config import FolderPlace
from forge_pipelines.sources.stage import read_source
from forge_pipelines.store import Store

RETRAIN = """
  retrain:
    on_new_documents: {settle_seconds: 1, look_every_seconds: 1}
"""
SENSOR = {
    "repositoryName": "__repository__",
    "repositoryLocationName": "forge",
    "sensorName": "clerk_on_new_documents",
}
START = """mutation($sensor: SensorSelector!) {
  startSensor(sensorSelector: $sensor) { ... on Sensor { sensorState { status } } ... on PythonError { message } }
}"""
TICKS = """query($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) { ... on Sensor {
  sensorState { status ticks(limit: 200) { status skipReason runIds } }
} } }"""
RUNS = "{ runsOrError { ... on Runs { results { runId jobName status tags { key value } } } } }"
REPORT = """{ assetOrError(assetKey: {path: ["clerk", "evaluation_report"]}) { ... on Asset {
  assetMaterializations(limit: 1) { metadataEntries { label ... on MarkdownMetadataEntry { mdStr } } }
} } }"""


class Site:
    """A company whose source was read, and `forge up` on it."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self.port, mlflow, pages = free_port(), free_port(), free_port()
        self.pages = f"http://127.0.0.1:{pages}"
        ports = ("--port", str(self.port), "--mlflow-port", str(mlflow), "--pages-port", str(pages))
        self.up = company.start("up", *ports)
        assert self.up.stdout is not None
        said = list(takewhile(lambda line: not line.startswith("ready in"), self.up.stdout))
        assert self.up.poll() is None, said

    def ask(self, query: str, **variables: Any) -> Mapping[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(f"http://127.0.0.1:{self.port}/graphql", body, {"Content-Type": "application/json"})
        answer: Mapping[str, Any] = json.loads(urlopen(request, timeout=60).read())
        assert "errors" not in answer, answer
        data: Mapping[str, Any] = answer["data"]
        return data

    def ticks(self) -> list[Mapping[str, Any]]:
        """The ticks that have been evaluated, the latest first."""
        found: list[Mapping[str, Any]] = self.ask(TICKS, sensor=SENSOR)["sensorOrError"]["sensorState"]["ticks"]
        return [tick for tick in found if tick["status"] != "STARTED"]

    def sees_no_change(self) -> bool:
        """Whether the latest tick found no document that has changed."""
        return [tick["skipReason"] for tick in self.ticks()[:1]] == ["no document has changed"]

    def runs(self) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = self.ask(RUNS)["runsOrError"]["results"]
        return found


def wait_until(condition: Callable[[], Any], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.5)
    return bool(condition())


@pytest.fixture
def site(found: Callable[[], Company]) -> Iterator[Site]:
    company = found()
    model = company.defs("clerk/defs.yaml")
    quick = model.read_text().replace("steps: 40", "steps: 4")
    model.write_text(re.sub(r"gates: \[.*\]", "gates: []", quick).rstrip() + RETRAIN)
    source = SourceConfig(
        name="post",
        folder=FolderPlace(path=str(company.documents), include=("**/*.md",)),
        labels=Labels(licence="CC-BY-4.0", classification=Classification.INTERNAL),
    )
    read_source(source, Store(str(company.home / "store"), company.home / "scratch"))
    site = Site(company)
    yield site
    site.up.send_signal(signal.SIGINT)
    assert site.up.wait(timeout=60) == 0


def test_one_new_document_is_one_run_and_one_version(site: Site) -> None:
    assert site.ask(TICKS, sensor=SENSOR)["sensorOrError"]["sensorState"]["status"] == "STOPPED"
    assert site.ask(START, sensor=SENSOR)["startSensor"]["sensorState"]["status"] == "RUNNING"
    assert wait_until(site.sees_no_change, 60), site.ticks()
    assert site.runs() == []

    (site.company.documents / "letter-new.md").write_text("Dear Ada,\n\nWe send you a box of honey.\n\nYours, Acme\n")
    assert wait_until(lambda: [run["status"] for run in site.runs()] in (["SUCCESS"], ["FAILURE"]), 200), site.runs()
    [run] = site.runs()
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert (run["jobName"], run["status"]) == ("clerk", "SUCCESS")
    assert (tags["forge/model"], tags["forge/trigger"], tags["forge/version"]) == ("clerk", "new documents", "1")

    launched = [tick for tick in site.ticks() if tick["runIds"]]
    assert [tick["runIds"] for tick in launched] == [[run["runId"]]]
    assert wait_until(site.sees_no_change, 60), site.ticks()[:3]
    published = Path(site.company.home / "store" / "clerk" / "registered_model").glob("*/manifest.json")
    assert len(list(published)) == 1

    [made] = site.ask(REPORT)["assetOrError"]["assetMaterializations"]
    [link] = [entry["mdStr"] for entry in made["metadataEntries"] if entry["label"] == "report"]
    address = link.rpartition("(")[2].rstrip(")")
    assert address.startswith(site.pages)
    assert b"evaluation report" in urlopen(address).read()
