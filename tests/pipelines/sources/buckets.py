"""A bucket of the moto server, what tests put into it, and how it is opened as a place."""

import json
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import boto3
from moto.iam.models import iam_backends
from moto.s3.models import s3_backends

from forge_pipelines.sources.connections import Connection
from forge_pipelines.sources.places.config import ObjectStorePlace
from forge_pipelines.sources.places.object_store import ObjectStore

_ACCOUNT = "123456789012"
EVERYTHING = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}


class Bucket:
    """A new bucket; documents stand below `docs/`.

    Attributes:
        name: the bucket's.
        options: what a connection to the server says.
        client: boto3's.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.name = uuid4().hex
        self.options: dict[str, Any] = {
            "endpoint_url": environment["AWS_ENDPOINT_URL"],
            "region": environment["AWS_DEFAULT_REGION"],
            "key": environment["AWS_ACCESS_KEY_ID"],
            "secret": environment["AWS_SECRET_ACCESS_KEY"],
        }
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=self.options["endpoint_url"],
            region_name=self.options["region"],
            aws_access_key_id=self.options["key"],
            aws_secret_access_key=self.options["secret"],
        )
        self.client.create_bucket(Bucket=self.name)

    def put(self, **contents: bytes) -> None:
        """Write objects, which are named by their paths below `docs/`."""
        for path, content in contents.items():
            self.client.put_object(Bucket=self.name, Key=f"docs/{path}", Body=content)

    def delete(self, path: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=f"docs/{path}")

    def fill(self, paths: Iterable[str]) -> None:
        """Write objects past the server, whose signature checks cost 5 ms each and whose names are tamer."""
        for path in paths:
            s3_backends[_ACCOUNT]["aws"].put_object(self.name, f"docs/{path}", b"x")

    def open(self, max_file_bytes: int = 1 << 20, options: dict[str, Any] | None = None, **given: Any) -> ObjectStore:
        """Open the bucket as a place; the arguments go into its YAML, the options into the connection's."""
        connection = Connection(options={**self.options, **(options or {})})
        place = {"url": f"s3://{self.name}/docs", "connection": "archive", **given}
        return ObjectStore(ObjectStorePlace.model_validate(place), connection, max_file_bytes, (0.01, 0.02))


def new_user(*statements: dict[str, Any]) -> dict[str, str]:
    """Return the key and secret of a new user, to whom a policy's statements apply."""
    users, name = iam_backends[_ACCOUNT]["aws"], uuid4().hex
    users.create_user("us-east-1", name)
    users.put_user_policy(name, "policy", json.dumps({"Version": "2012-10-17", "Statement": statements}))
    key = users.create_access_key(name)
    return {"key": key.access_key_id, "secret": key.secret_access_key}


def forget_user(user: dict[str, str]) -> None:
    """Make the server know a user's key no longer."""
    users = iam_backends[_ACCOUNT]["aws"]
    users.delete_access_key(user["key"], users.get_user_from_access_key_id(user["key"]).name)
