"""The whole chain by the shell: made once, not made again, made anew where a document changed."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import psutil
import pytest
from company import CONNECTIONS, Company
from dagster_graphql import DagsterGraphQLClient

from forge_assets.cli.up import running_address
from forge_assets.instance import dagster_instance
from forge_assets.settings import exported, load_settings
from forge_pipelines.manifest import STAGES, Manifest
from forge_pipelines.store import Store


def store_of(company: Company) -> Store:
    return Store(str(company.home / "store"), company.home / "scratch")


def fingerprints(company: Company) -> dict[str, str]:
    store = store_of(company)
    names = {"raw_documents": "post", "validated_corpus": "letters"}
    return {stage: store.latest(names.get(stage, "clerk"), stage).fingerprint for stage in STAGES}


def test_the_chain_ends_with_a_table_and_every_hash_holds(finished: Company) -> None:
    result = finished.forge("run", "clerk")
    assert result.returncode == 0, result.stdout + result.stderr
    for stage in STAGES:
        assert stage in result.stdout
    verified = finished.forge("verify")
    assert verified.returncode == 0, verified.stdout
    assert "0 damaged" in verified.stdout


def test_nothing_leaves_the_machine(finished: Company) -> None:
    log = finished.root.parent / CONNECTIONS
    if not log.exists():
        pytest.skip("strace is not installed")
    peers = re.findall(r"connect\(\d+, \{(.*?)\}", log.read_text())
    local = re.compile(r'AF_UNIX|AF_UNSPEC|AF_NETLINK|inet_addr\("127\.|inet_pton\(AF_INET6, "(::1|::ffff:127\.)')
    assert peers
    assert [peer for peer in peers if not local.search(peer)] == []


def test_an_unchanged_chain_makes_nothing(finished: Company) -> None:
    before = fingerprints(finished)
    started = time.monotonic()
    result = finished.forge("run", "clerk")
    seconds = time.monotonic() - started
    assert result.stdout.count("unchanged") == len(STAGES), result.stdout
    assert fingerprints(finished) == before
    assert seconds < 30, f"{seconds:.0f} s for nothing"


def test_state_stands_under_forge_home_alone(finished: Company) -> None:
    assert {path.name for path in finished.root.iterdir()} <= {"home", "documents", "acme", "pyproject.toml"}


def test_an_own_asset_reads_a_manifest(finished: Company) -> None:
    result = finished.forge("run", "corpus_facts")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "corpus_facts" in result.stdout


def test_the_registered_model_answers(finished: Company) -> None:
    store = store_of(finished)
    version = json.loads((store.open(store.latest("clerk", "registered_model")) / "model_version.json").read_text())
    assert version["name"] == "clerk"
    assert version["alias"] == "candidate"


def test_a_flipped_byte_in_a_checkpoint_is_refused_by_name(finished: Company) -> None:
    store = store_of(finished)
    manifest = store.latest("clerk", "trained_checkpoint")
    path = Path(store.address_of(manifest)) / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        verified = finished.forge("verify", "clerk")
        assert verified.returncode == 1
        assert "model.safetensors does not match its SHA-256" in verified.stdout
        result = finished.forge("run", "clerk")
        assert result.returncode == 1
        assert "model.safetensors does not match its SHA-256" in result.stderr
    finally:
        path.write_bytes(whole)


def test_one_changed_document_gives_a_new_version_and_touches_only_what_it_must(found: Callable[[], Company]) -> None:
    company = found()
    assert company.forge("run", "clerk").returncode == 0
    before = fingerprints(company)
    letter = sorted(company.documents.iterdir())[3]
    letter.write_text(letter.read_text() + "\nP.S. The ink was excellent.\n")
    result = company.forge("run", "clerk")
    assert result.returncode == 0, result.stdout + result.stderr
    assert all(before[stage] != after for stage, after in fingerprints(company).items())
    store = store_of(company)
    versions = [_version(store, manifest) for manifest in store.manifests("clerk", "registered_model")]
    assert sorted(versions) == [1, 2]


def _version(store: Store, manifest: Manifest) -> int:
    return int(json.loads((store.open(manifest) / "model_version.json").read_text())["version"])


def test_a_worse_model_is_refused_at_registration_whoever_launches_it(found: Callable[[], Company]) -> None:
    company = found()
    shuffle_characters(company.documents)
    yaml = company.defs("clerk/defs.yaml")
    yaml.write_text(yaml.read_text().replace("bits_per_character < base", "bits_per_character < 2.5"))
    result = company.forge("run", "clerk")
    assert result.returncode == 1
    assert "clerk/registered_model: gate refusal: clerk is not registered" in result.stderr
    assert "2.5" in result.stderr
    up = company.start("up", *free_ports())
    try:
        address = _wait_for_up(company, up)
        submitted = company.forge("run", "clerk")
        assert "submitted to " in submitted.stdout
        assert submitted.returncode == 1
        assert "gate refusal: clerk is not registered" in submitted.stderr
        assert "gate refusal" in _launch_job(address, "clerk")
    finally:
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=60)
    assert list(store_of(company).manifests("clerk", "registered_model")) == []


def shuffle_characters(folder: Path) -> None:
    draw = random.Random(0)
    for path in folder.iterdir():
        path.write_text("".join(draw.sample(text := path.read_text(), len(text))))


def free_ports() -> list[str]:
    """Return options that give each service of `forge up` a port that nobody has."""
    options: list[str] = []
    with ExitStack() as stack:
        for option in ("--port", "--mlflow-port", "--pages-port"):
            taken = stack.enter_context(socket.socket())
            taken.bind(("127.0.0.1", 0))
            options += [option, str(taken.getsockname()[1])]
    return options


def _wait_for_up(company: Company, up: "subprocess.Popen[str]") -> str:
    deadline = time.monotonic() + 120
    while (address := running_address(company.home)) is None:
        assert up.poll() is None, up.stdout.read() if up.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return address


def _launch_job(address: str, job: str) -> str:
    """Launch a model's job as the web UI does, and return what its failure says."""
    host, _, port = address.removeprefix("http://").partition(":")
    client = DagsterGraphQLClient(host, port_number=int(port))
    run_id = client.submit_job_execution(job)
    deadline = time.monotonic() + 120
    while client.get_run_status(run_id) not in {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    query = """query ($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events {
        ... on ExecutionStepFailureEvent { failureMetadata { description } } } } } }"""
    events = client._execute(query, {"run": run_id})["logsForRun"]["events"]
    return "; ".join(event["failureMetadata"]["description"] for event in events if event.get("failureMetadata"))


def _descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def _training_ranks(pid: int) -> list[psutil.Process]:
    return [child for child in _descendants(pid) if "training.worker" in " ".join(child.cmdline())]


def _wait_for_checkpoint(company: Company, child: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if list(company.home.glob("scratch/work/clerk/**/checkpoint-*/complete.json")):
            return
        assert child.poll() is None, child.stdout.read() if child.stdout else ""
        time.sleep(0.05)
    raise AssertionError("no checkpoint was written in 240 s")


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_a_run_ended_in_training_leaves_no_process_and_goes_on_from_its_checkpoint(
    found: Callable[[], Company], ending: signal.Signals
) -> None:
    company = found()
    yaml = company.defs("clerk/defs.yaml")
    yaml.write_text(yaml.read_text().replace("steps: 40", "steps: 400"))
    child = company.start("run", "clerk")
    _wait_for_checkpoint(company, child)
    family = _descendants(child.pid)
    assert _training_ranks(child.pid)
    os.kill(child.pid, ending)
    assert child.wait(30) == (130 if ending is signal.SIGINT else -signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=5)
    assert [process.cmdline() for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    assert list(store_of(company).manifests("clerk", "trained_checkpoint")) == []
    result = company.forge("run", "clerk")
    assert result.returncode == 0, result.stdout + result.stderr
    assert store_of(company).latest("clerk", "trained_checkpoint").measured["resumed_from_step"] > 0
    assert _statuses(company) == ["SUCCESS", "FAILURE"]  # none is left «started», the latest first


def _statuses(company: Company) -> list[str]:
    with exported({"FORGE_HOME": str(company.home)}), dagster_instance(load_settings()) as instance:
        return [run.status.value for run in instance.get_runs()]
