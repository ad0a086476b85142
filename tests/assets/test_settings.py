"""What a site sets, read from the environment and from nowhere else."""

import os
from pathlib import Path

import pytest

from forge_assets.settings import Settings, exported, load_settings
from forge_pipelines.errors import ConfigError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("FORGE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_all_state_stands_below_forge_in_the_working_folder_unless_told(tmp_path: Path) -> None:
    home = tmp_path / ".forge"
    settings = load_settings()
    assert settings == Settings(
        home=home,
        store=str(home / "store"),
        cache=home / "cache",
        postgres_url=None,
        mlflow_url=None,
        definitions="forge_assets.definitions",
    )
    assert (settings.logs, settings.mlflow_artifacts) == (home / "logs", home / "mlflow")
    assert not home.exists()


def test_mlflow_is_the_named_server_or_else_its_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGE_POSTGRES_URL", "postgresql://forge:secret@db.example:5433/anything?sslmode=require")
    assert load_settings().mlflow_uri == "postgresql://forge:secret@db.example:5433/mlflow?sslmode=require"
    monkeypatch.setenv("FORGE_MLFLOW_URL", "https://mlflow.example")
    assert load_settings().mlflow_uri == "https://mlflow.example"


def test_relative_paths_are_taken_from_the_working_folder_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FORGE_HOME", "state")
    monkeypatch.setenv("FORGE_STORE", "published")
    settings = load_settings()
    assert (settings.home, settings.store) == (tmp_path / "state", str(tmp_path / "published"))
    monkeypatch.setenv("FORGE_STORE", "s3://bucket/prefix")
    assert load_settings().store == "s3://bucket/prefix"


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load_settings()
    for name in ("HOME", "STORE", "CACHE", "POSTGRES_URL", "MLFLOW_URL", "DEFINITIONS"):
        monkeypatch.setenv(f"FORGE_{name}", "")
    assert load_settings() == expected


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("FORGE_HOME", "file", "FORGE_HOME is .*file, which is no folder"),
        ("FORGE_CACHE", "file", "FORGE_CACHE is .*file, which is no folder"),
        ("FORGE_STORE", "nowhere://bucket", "nothing here reads nowhere://"),
        ("FORGE_POSTGRES_URL", "mysql://user:secret@host/db", "FORGE_POSTGRES_URL is no address of the form"),
        ("FORGE_MLFLOW_URL", "localhost:5000", "FORGE_MLFLOW_URL is no address of the form"),
        ("FORGE_DEFINITIONS", "acme/definitions.py", "FORGE_DEFINITIONS is .*, which is no Python module"),
    ],
)
def test_an_impossible_value_is_one_sentence_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str, sentence: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=sentence) as refusal:
        load_settings()
    assert "secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_exported_variables_are_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGE_CACHE", "before")
    with exported({"FORGE_CACHE": "within", "FORGE_STORE": "within"}):
        assert (os.environ["FORGE_CACHE"], os.environ["FORGE_STORE"]) == ("within", "within")
    assert os.environ["FORGE_CACHE"] == "before"
    assert "FORGE_STORE" not in os.environ
