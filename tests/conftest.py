"""What tests share: a store in a temporary folder, and one place for compiled extensions."""

from pathlib import Path

import pytest

from forge_pipelines.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store in a folder of its own."""
    return Store(str(tmp_path / "store"), tmp_path / "scratch")


@pytest.fixture(scope="session")
def forge_cache() -> Path:
    """Where DeepSpeed's compiled operations stand between test runs: compiling one takes a minute."""
    folder = Path(__file__).parent.parent / ".pytest_cache" / "torch_extensions"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
