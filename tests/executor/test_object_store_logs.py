"""The output of steps on an object store: found again when the machine that ran the step is gone."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.storage.compute_log_manager import ComputeIOType

from forge_assets.compute_logs import check_logs, remote_logs
from forge_pipelines.errors import ConfigError, PlatformError


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def account(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="forge")


def instance(home: Path, logs_url: str, endpoint: str) -> dg.DagsterInstance:
    home.mkdir(exist_ok=True)
    logs = remote_logs(logs_url, home / "cache", endpoint)
    (home / "dagster.yaml").write_text(yaml.safe_dump({"telemetry": {"enabled": False}, **logs}))
    return dg.DagsterInstance.from_config(str(home))


@dg.asset
def talkative() -> None:
    sys.stdout.write("what it said\n")
    sys.stderr.write("what it warned of\n")


def test_what_a_step_wrote_is_found_when_its_machine_is_gone(tmp_path: Path, endpoint: str) -> None:
    with instance(tmp_path / "home", "s3://forge/site/logs", endpoint) as first:
        result = dg.materialize([talkative], instance=first)
        (captured,) = result.filter_events(lambda event: event.event_type == dg.DagsterEventType.LOGS_CAPTURED)
        key = captured.event_specific_data.file_key
    shutil.rmtree(tmp_path / "home" / "cache")
    with instance(tmp_path / "elsewhere", "s3://forge/site/logs", endpoint) as second:
        manager = second.compute_log_manager
        data = manager.get_log_data([result.run_id, "compute_logs", key])
        where = manager.display_path_for_type([result.run_id, "compute_logs", key], ComputeIOType.STDOUT)
    assert b"what it said" in (data.stdout or b"")
    assert b"what it warned of" in (data.stderr or b"")
    assert where == f"s3://forge/site/logs/storage/{result.run_id}/compute_logs/{key}.out"


def test_a_bucket_that_is_there_passes(endpoint: str) -> None:
    check_logs("s3://forge/site/logs", endpoint)


def test_a_missing_bucket_is_one_sentence(endpoint: str) -> None:
    sentence = "^FORGE_LOGS is s3://nowhere/logs, and there is no bucket nowhere: make it, or name another$"
    with pytest.raises(ConfigError, match=sentence):
        check_logs("s3://nowhere/logs", endpoint)


def test_a_store_that_does_not_answer_is_one_sentence() -> None:
    with pytest.raises(PlatformError, match=r"^FORGE_LOGS is s3://forge/logs, and .* cannot be reached"):
        check_logs("s3://forge/logs", "http://127.0.0.1:1")


def test_an_address_without_a_prefix_has_one_all_the_same(tmp_path: Path) -> None:
    assert remote_logs("s3://forge", tmp_path)["compute_logs"]["config"]["prefix"] == "logs"
