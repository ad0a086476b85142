"""Where a site keeps its databases and object stores, and how assets come by them."""

from pathlib import Path

import dagster as dg
import pytest

from forge_assets.resources import ConnectionsResource, forge_resources
from forge_assets.settings import Settings, connection
from forge_pipelines.errors import ConfigError

URL = "postgresql://reader:hunter2@db.example/crm"


@pytest.fixture
def file(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file of connections that the site names; the environment says nothing else of Forge but its home."""
    path = tmp_path / "connections.yaml"
    path.write_text(f"crm: {URL}\nstore:\n  endpoint_url: http://minio.example:9000\n  secret: hunter2\n")
    path.chmod(0o600)
    monkeypatch.setenv("FORGE_CONNECTIONS", str(path))
    return path


def url_of(name: str) -> str:
    found = connection(name)
    assert found.url is not None
    return found.url.get_secret_value()


def test_a_connection_stands_in_the_file_or_in_a_variable_which_comes_first(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert url_of("crm") == URL
    assert connection("store").options == {"endpoint_url": "http://minio.example:9000", "secret": "hunter2"}
    monkeypatch.setenv("FORGE_CONNECTION_CRM", "sqlite:///crm.db")
    monkeypatch.setenv("FORGE_CONNECTION_OLD_STORE", '{"key": "reader", "secret": "hunter2"}')
    assert url_of("crm") == "sqlite:///crm.db"
    assert connection("old_store").options == {"key": "reader", "secret": "hunter2"}


def test_an_unknown_connection_says_which_variable_or_file_to_write(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError) as refusal:
        connection("wiki")
    assert str(refusal.value) == (
        f"the connection wiki is not known here: set FORGE_CONNECTION_WIKI, or write wiki into {file}"
    )
    monkeypatch.delenv("FORGE_CONNECTIONS")
    with pytest.raises(ConfigError) as refusal:
        connection("wiki")
    assert str(refusal.value) == (
        "the connection wiki is not known here: set FORGE_CONNECTION_WIKI, "
        "or write wiki into the file that FORGE_CONNECTIONS names"
    )


def test_a_damaged_connection_says_where_it_stands_and_is_not_quoted(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORGE_CONNECTION_WIKI", "hunter2")
    with pytest.raises(ConfigError, match="the environment variable FORGE_CONNECTION_WIKI holds no") as refusal:
        connection("wiki")
    assert "hunter2" not in repr(refusal.value)
    file.write_text("wiki: [hunter2]\n")
    monkeypatch.delenv("FORGE_CONNECTION_WIKI")
    with pytest.raises(ConfigError, match=f"the connection wiki in {file} holds neither") as refusal:
        connection("wiki")
    assert "hunter2" not in repr(refusal.value)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        connection("wiki")


def test_assets_ask_a_resource_that_holds_nothing_which_dagster_could_show(file: Path, settings: Settings) -> None:
    resource = forge_resources(settings)["forge_connections"]
    assert isinstance(resource, ConnectionsResource)
    assert resource.model_dump() == {}
    found: list[str] = []

    @dg.asset
    def reads(forge_connections: ConnectionsResource) -> None:
        url = forge_connections.open()("crm").url
        assert url is not None
        found.append(url.get_secret_value())

    with dg.instance_for_test() as instance:
        result = dg.materialize([reads], instance=instance, resources={"forge_connections": resource})
        assert found == [URL]
        stored = [str(record.event_log_entry) for record in instance.get_records_for_run(result.run_id).records]
        assert "hunter2" not in "".join(stored) + str(result.dagster_run)
