"""The whole chain by the shell: made once, not made again, made anew where a document changed."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psutil
import pytest
from company import CONNECTIONS, Company
from dagster_graphql import DagsterGraphQLClient
from ports import free_port

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
    with finished.start("run", "clerk") as child:
        assert child.stdout is not None
        said = child.stdout.read()
        used = os.wait4(child.pid, 0)[2]
    assert said.count("unchanged") == len(STAGES), said
    assert fingerprints(finished) == before
    seconds = used.ru_utime + used.ru_stime
    assert seconds < 15, f"{seconds:.0f} s of a core for nothing"


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


def test_one_changed_document_gives_a_new_version_and_touches_only_what_it_must(finished: Company) -> None:
    before, versions = fingerprints(finished), versions_of(finished)
    letter = sorted(finished.documents.iterdir())[3]
    letter.write_text(letter.read_text() + "\nP.S. The ink was excellent.\n")
    result = finished.forge("run", "clerk")
    assert result.returncode == 0, result.stdout + result.stderr
    assert all(before[stage] != after for stage, after in fingerprints(finished).items())
    assert versions_of(finished) == [*versions, len(versions) + 1]


def versions_of(company: Company) -> list[int]:
    store = store_of(company)
    return sorted(_version(store, manifest) for manifest in store.manifests("clerk", "registered_model"))


def _version(store: Store, manifest: Manifest) -> int:
    return int(json.loads((store.open(manifest) / "model_version.json").read_text())["version"])


def test_a_worse_model_is_refused_at_registration_whoever_launches_it(finished: Company) -> None:
    versions, gate = versions_of(finished), "bits_per_character < 0.5"
    with edited(finished, "bits_per_character < base", gate):
        result = finished.forge("run", "clerk")
        assert result.returncode == 1
        assert "clerk/registered_model: gate refusal: clerk is not registered" in result.stderr
        assert gate in result.stderr
        options = ("--port", "--mlflow-port", "--pages-port")
        up = finished.start("up", *(word for option in options for word in (option, str(free_port()))))
        try:
            address = _wait_for_up(finished, up)
            submitted = finished.forge("run", "clerk")
            assert "submitted to " in submitted.stdout
            assert submitted.returncode == 1
            assert "gate refusal: clerk is not registered" in submitted.stderr
            assert "gate refusal" in _launch_job(address, "clerk")
        finally:
            up.send_signal(signal.SIGINT)
            up.communicate(timeout=60)
    assert versions_of(finished) == versions


@contextmanager
def edited(company: Company, old: str, new: str) -> Iterator[None]:
    """Say something else in the model's YAML, for as long as the context lasts."""
    yaml = company.defs("clerk/defs.yaml")
    text = yaml.read_text()
    assert old in text
    yaml.write_text(text.replace(old, new))
    try:
        yield
    finally:
        yaml.write_text(text)


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
    finished: Company, ending: signal.Signals
) -> None:
    trained = trained_by(finished)
    with edited(finished, "steps: 40", f"steps: {150 + ending}"):
        child = finished.start("run", "clerk")
        _wait_for_checkpoint(finished, child)
        family = _descendants(child.pid)
        assert _training_ranks(child.pid)
        if ending is signal.SIGINT:  # a terminal sends it to all that runs in it
            os.killpg(child.pid, ending)
            said, _ = child.communicate(timeout=60)
            assert said.endswith("\nforge: interrupted; the same command goes on from here\n")
            assert "Traceback" not in said
            assert child.returncode == 130
        else:
            child.kill()
            assert child.wait(60) == -signal.SIGKILL
        _, alive = psutil.wait_procs(family, timeout=30)
        assert [process.cmdline() for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
        assert trained_by(finished) == trained
        result = finished.forge("run", "clerk")
    assert result.returncode == 0, result.stdout + result.stderr
    assert store_of(finished).latest("clerk", "trained_checkpoint").measured["resumed_from_step"] > 0
    assert _statuses(finished)[:2] == ["SUCCESS", "FAILURE"]  # the latest first
    assert "STARTED" not in _statuses(finished)


def trained_by(company: Company) -> set[str]:
    return {manifest.fingerprint for manifest in store_of(company).manifests("clerk", "trained_checkpoint")}


def _statuses(company: Company) -> list[str]:
    with exported({"FORGE_HOME": str(company.home)}), dagster_instance(load_settings()) as instance:
        return [run.status.value for run in instance.get_runs()]
