"""An S3 server of our own that checks signatures, and addresses in it."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

_BUCKET = "forge"


def _serialised(application: Any) -> Any:
    """S3 decides conditional writes one at a time; moto, with a thread a request, would let two of them pass."""
    lock = threading.Lock()

    def one_at_a_time(environ: Any, start_response: Any) -> list[bytes]:
        with lock:
            return list(application(environ, start_response))

    return one_at_a_time


def _open_account(endpoint: str) -> dict[str, str]:
    import boto3

    region = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    anybody = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    iam = boto3.client("iam", **region, **anybody)
    iam.create_user(UserName="forge")
    everything = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}
    iam.put_user_policy(UserName="forge", PolicyName="all", PolicyDocument=json.dumps(everything))
    key = iam.create_access_key(UserName="forge")["AccessKey"]
    boto3.client("s3", **region, **anybody).create_bucket(Bucket=_BUCKET)
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }


@pytest.fixture(scope="session")
def s3_environment() -> Iterator[dict[str, str]]:
    """The variables that name a moto server and its one account; every request's signature is checked."""
    from moto import settings
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    application = _serialised(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        environment = _open_account(f"http://127.0.0.1:{server.port}")
        patch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
        yield environment
    server.shutdown()
    thread.join()


@pytest.fixture
def s3_address(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """An address below which nothing stands yet; the process and its children know how to reach it."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{_BUCKET}/{uuid4().hex}"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
    yield disk
    # At once out of sight, and gone with the last file that a failed test still holds open.
    subprocess.run(["umount", "--lazy", str(disk)], check=True)
