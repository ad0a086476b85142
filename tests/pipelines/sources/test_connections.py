"""What a site gives as a connection, and what is no such thing; nothing that may be secret is ever quoted."""

from pathlib import Path

import pytest

from forge_pipelines.errors import ConfigError
from forge_pipelines.sources.connections import (
    Connection,
    connections_of,
    no_connections,
    parse_connection,
    written_connection,
)

URL = "postgresql+psycopg2://reader:hunter2@db.example:5433/crm?sslmode=require"


def test_a_database_is_its_url_alone_or_in_a_mapping() -> None:
    for found in (
        parse_connection(URL, "it"),
        parse_connection({"url": URL}, "it"),
        written_connection(f" {URL} ", ""),
    ):
        assert found.url is not None
        assert found.url.get_secret_value() == URL
    assert written_connection('{"url": "sqlite:///crm.db"}', "it") == parse_connection("sqlite:///crm.db", "it")


def test_an_object_store_is_its_options() -> None:
    options = {"endpoint_url": "http://minio.example:9000", "key": "reader", "secret": "hunter2"}
    assert parse_connection(options, "it") == Connection(options=options)
    nested = written_connection('{"key": "a", "client_kwargs": {"region_name": "eu"}}', "it")
    assert nested.options["client_kwargs"] == {"region_name": "eu"}


def test_a_connection_shows_no_secret() -> None:
    for connection in (parse_connection(URL, "it"), parse_connection({"secret": "hunter2"}, "it")):
        assert "hunter2" not in f"{connection} {connection!r}"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("hunter2", "holds no database's URL such as"),
        ("https://hunter2@store.example", "write an object store's options as a mapping"),
        ("s3://hunter2@bucket", "write an object store's options as a mapping"),
        ("postgresql://u:hunter2@x@db.example/crm", "write those of the password as %40"),
        ({"url": URL, "secret": "hunter2"}, "a `url` and other options"),
        ({"url": {"hunter2": 1}}, "neither a database's URL nor"),
        ({1: "hunter2"}, "neither a database's URL nor"),
        ({}, "neither a database's URL nor"),
        (["hunter2"], "neither a database's URL nor"),
        (None, "neither a database's URL nor"),
    ],
)
def test_what_is_no_connection_is_one_sentence_that_does_not_quote_it(value: object, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as refusal:
        parse_connection(value, "the connection crm in connections.yaml")
    assert str(refusal.value).startswith("the connection crm in connections.yaml ")
    assert "hunter2" not in repr(refusal.value)
    assert "\n" not in str(refusal.value)


def test_damaged_json_is_not_quoted() -> None:
    with pytest.raises(ConfigError, match="begins like JSON and is none") as refusal:
        written_connection('{"secret": "hunter2"', "the variable")
    assert "hunter2" not in repr(refusal.value)
    assert refusal.value.__context__ is refusal.value.__cause__ is None


def test_a_file_holds_connections_by_their_names(tmp_path: Path) -> None:
    file = tmp_path / "connections.yaml"
    file.write_text(f"crm: {URL}\nstore: {{key: reader}}\n")
    file.chmod(0o600)
    assert connections_of(file, "FORGE_CONNECTIONS") == {"crm": URL, "store": {"key": "reader"}}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
def test_a_file_that_others_reach_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "connections.yaml"
    file.write_text(f"crm: {URL}\n")
    file.chmod(mode)
    with pytest.raises(ConfigError, match=f"so `chmod 600 {file}`"):
        connections_of(file, "FORGE_CONNECTIONS")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"crm: [hunter2\nother: 1\n", "line 2, which is no YAML mapping"),
        (b"hunter2\n", "which is no YAML mapping"),
        (b"", "which is no YAML mapping"),
        (b"crm: \xff hunter2\n", "which is no YAML mapping"),
        (b"crm: !!python/object/apply:os.system [hunter2]\n", "which is no YAML mapping"),
    ],
)
def test_a_damaged_file_is_named_and_not_quoted(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "connections.yaml"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match=sentence) as refusal:
        connections_of(file, "FORGE_CONNECTIONS")
    assert str(file) in str(refusal.value)
    assert "hunter2" not in repr(refusal.value)
    assert refusal.value.__context__ is refusal.value.__cause__ is None


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"FORGE_CONNECTIONS is .*none\.yaml, which cannot be read"):
        connections_of(tmp_path / "none.yaml", "FORGE_CONNECTIONS")


def test_without_a_site_there_are_none() -> None:
    with pytest.raises(ConfigError, match="the connection crm is not known here"):
        no_connections("crm")
