"""What tests of the Dagster face share: settings of a new FORGE_HOME, whatever the environment says."""

import os
from pathlib import Path

import pytest

from forge_assets.settings import Settings, load_settings


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    for name in os.environ:
        if name.startswith("FORGE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FORGE_HOME", str(tmp_path / "home"))
    return load_settings()
