"""What tests of the Dagster face share: settings of a new FORGE_HOME, a source in its store, and the command line."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import source_samples
from command_line import Forge

from forge_assets.cli import main
from forge_assets.settings import Settings, load_settings
from forge_pipelines.manifest import Manifest


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Of a new FORGE_HOME, whatever the environment says."""
    return _settings_of(tmp_path / "home", monkeypatch)


def _settings_of(home: Path, patch: pytest.MonkeyPatch) -> Settings:
    for name in os.environ:
        if name.startswith("FORGE_"):
            patch.delenv(name)
    patch.setenv("FORGE_HOME", str(home))
    return load_settings()


@pytest.fixture(scope="session")
def read_handbook(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, str]:
    """The source `handbook`, read once, and the store in which it stands."""
    folder = tmp_path_factory.mktemp("handbook")
    with pytest.MonkeyPatch.context() as patch:
        settings = _settings_of(folder / "home", patch)
        return source_samples.handbook(folder / "handbook", settings), settings.store


@pytest.fixture
def handbook(read_handbook: tuple[Manifest, str], settings: Settings) -> Manifest:
    """The source `handbook`, in the test's own store."""
    manifest, store = read_handbook
    shutil.copytree(store, settings.store)
    return manifest


@pytest.fixture
def forge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Forge:
    """Call `forge` with arguments, in this process, on a terminal or in a pipe."""

    def call(*arguments: str, terminal: bool = False) -> tuple[int, list[str], str]:
        monkeypatch.setenv("TTY_COMPATIBLE", str(int(terminal)))
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setattr(sys, "argv", ["forge", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, said.out.splitlines(), said.err

    return call
