"""A code location of 100 sources, 20 corpora and 50 models: loading it, its asset graph, and a tick of every sensor."""

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import dagster as dg
from running.project import begin_project

from forge_assets.instance import dagster_instance
from forge_assets.settings import exported, load_settings
from forge_pipelines import processes
from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.sources.stage import read_source
from forge_pipelines.store import Store

SOURCES, CORPORA, MODELS = 100, 20, 50
DOCUMENTS_A_SOURCE = 10
RUNS = 3
WORKSPACE = {"load_from": [{"python_module": {"module_name": "acme.definitions", "location_name": "acme"}}]}
LOAD = """
import acme.definitions
print(len(acme.definitions.defs.get_repository_def().asset_graph.get_all_asset_keys()))
"""
GRAPH = "{ assetNodes { assetKey { path } dependencyKeys { path } groupName kinds hasMaterializePermission } }"
SENSORS = """
{ sensorsOrError(repositorySelector: {repositoryLocationName: "acme", repositoryName: "__repository__"}) {
    ... on Sensors { results { name sensorType } } } }
"""
TICK = """
mutation tick($name: String!) { sensorDryRun(selectorData: {
    repositoryLocationName: "acme", repositoryName: "__repository__", sensorName: $name}, cursor: null) {
  __typename
  ... on DryRunInstigationTick { evaluationResult { skipReason error { message } runRequests { runKey } } }
  ... on PythonError { message } } }
"""


def source(number: int, documents: Path) -> dict[str, Any]:
    return {
        "name": f"source_{number}",
        "folder": {"path": str(documents / str(number)), "include": ["**/*.md"]},
        "labels": {"licence": "CC-BY-4.0", "classification": "internal"},
    }


def corpus(number: int) -> dict[str, Any]:
    a_corpus = SOURCES // CORPORA
    return {
        "name": f"corpus_{number}",
        "sources": [f"source_{number * a_corpus + offset}" for offset in range(a_corpus)],
        "expectations": [{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "licence"}}],
    }


def model(number: int) -> dict[str, Any]:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    return {
        "name": f"model_{number}",
        "shards": {
            "corpora": [{"corpus": f"corpus_{number % CORPORA}"}],
            "tokenizer": {"vocabulary_size": 400},
            "sequence_length": 64,
        },
        "training": {
            "architecture": {"model_type": "mistral", **sizes, **heads},
            "steps": 40,
            "batch_sequences": 4,
            "learning_rate": 0.01,
        },
        "registration": {"gates": ["heldout/bits_per_character < base"]},
        "retrain": {"cron": "0 3 * * 1", "on_new_documents": {}, "on_stale": True, "fresh_within_hours": 24},
    }


def write_project(root: Path) -> None:
    begin_project(root, "acme")
    documents = root / "documents"
    wanted = {
        "Source": [source(number, documents) for number in range(SOURCES)],
        "Corpus": [corpus(number) for number in range(CORPORA)],
        "Model": [model(number) for number in range(MODELS)],
    }
    for kind, all_attributes in wanted.items():
        for attributes in all_attributes:
            folder = root / "acme" / "defs" / str(attributes["name"])
            folder.mkdir(parents=True)
            text = json.dumps({"type": f"forge_assets.components.{kind}", "attributes": attributes})
            (folder / "defs.yaml").write_text(text)
    for number in range(SOURCES):
        (documents / str(number)).mkdir(parents=True)
        for document in range(DOCUMENTS_A_SOURCE):
            (documents / str(number) / f"{document}.md").write_text(f"# Document {document} of {number}\n")


def publish_every_source(documents: Path, store: Store) -> None:
    """Give the reconciler something to find: publications that were never reported."""
    for number in range(SOURCES):
        read_source(SourceConfig.model_validate(source(number, documents)), store, lambda _: None)


def seconds_to_load() -> float:
    started = time.monotonic()
    loaded = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=False)
    assert loaded.stdout.strip() == str(SOURCES + CORPORA + 4 * MODELS), loaded.stderr
    return time.monotonic() - started


@contextmanager
def webserver(folder: Path) -> Iterator[str]:
    """Run the web UI on the definitions; yield its address."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    address, workspace = f"http://127.0.0.1:{port}", folder / "workspace.yaml"
    workspace.write_text(json.dumps(WORKSPACE))
    command = [sys.executable, "-m", "dagster_webserver", "--port", str(port), "--workspace", str(workspace)]
    server = processes.start(command, log=folder / "webserver.log", family=True)
    try:
        while True:
            try:
                urlopen(f"{address}/server_info")
            except URLError:
                assert server.poll() is None, (folder / "webserver.log").read_text()
                time.sleep(0.1)
            else:
                break
        yield address
    finally:
        processes.end(server)


def ask(address: str, query: str, **variables: str) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    with urlopen(Request(f"{address}/graphql", body, {"Content-Type": "application/json"})) as answer:
        said: dict[str, Any] = json.load(answer)
    assert "errors" not in said, said["errors"]
    return dict(said["data"])


def seconds_of_graph(address: str) -> float:
    started = time.monotonic()
    assert len(ask(address, GRAPH)["assetNodes"]) == SOURCES + CORPORA + 4 * MODELS
    return time.monotonic() - started


def seconds_of_ticks(address: str) -> dict[str, float]:
    """Evaluate every sensor that the code server evaluates, one after the other."""
    seconds: dict[str, float] = {}
    for sensor in ask(address, SENSORS)["sensorsOrError"]["results"]:
        if sensor["sensorType"] != "AUTO_MATERIALIZE":
            started = time.monotonic()
            tick = ask(address, TICK, name=sensor["name"])["sensorDryRun"]
            assert tick["__typename"] == "DryRunInstigationTick" and not tick["evaluationResult"]["error"], tick
            seconds[sensor["name"]] = time.monotonic() - started
    return seconds


def seconds_of_conditions(instance: dg.DagsterInstance) -> float:
    """Evaluate the conditions of all models in this process, as the daemon does in its own."""
    import acme.definitions

    started = time.monotonic()
    dg.evaluate_automation_conditions(acme.definitions.defs, instance)
    return time.monotonic() - started


def show(what: str, seconds: list[float]) -> None:
    print(f"{what}: median {statistics.median(seconds):.2f} s, {min(seconds):.2f} to {max(seconds):.2f} of {RUNS}")


def measure(folder: Path) -> None:
    variables = {"FORGE_HOME": str(folder / "home"), "PYTHONPATH": str(folder), "FORGE_DEFINITIONS": "acme.definitions"}
    with exported(variables), dagster_instance(load_settings()) as instance:
        publish_every_source(folder / "documents", Store(load_settings().store, folder / "scratch"))
        show("definitions load in a new interpreter", [seconds_to_load() for _ in range(RUNS)])
        with webserver(folder) as address:
            show("the asset graph opens", [seconds_of_graph(address) for _ in range(RUNS)])
            ticks = [seconds_of_ticks(address) for _ in range(RUNS)]
        sys.path.append(str(folder))
        conditions = [seconds_of_conditions(instance) for _ in range(RUNS)]
        show(f"a tick of {len(ticks[0])} sensors by the code server", [sum(tick.values()) for tick in ticks])
        for name in sorted(ticks[0], key=lambda name: -ticks[-1][name])[:3]:
            show(f"  {name}", [tick[name] for tick in ticks])
        show(f"the conditions of {MODELS} models, in process", conditions)
        show("a tick of all", [sum(tick.values()) + more for tick, more in zip(ticks, conditions, strict=True)])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write_project(Path(folder))
        measure(Path(folder))
