"""What tests share: a store in a temporary folder, and one place for compiled extensions."""

import gc
import signal
from pathlib import Path

import pytest

from forge_pipelines.store import Store

# A shell starts background jobs with Ctrl-C ignored, and whatever they start inherits that: the tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What is imported while tests are collected is no garbage: it is not looked through until then, nor again later.
gc.disable()


def pytest_collection_finish() -> None:
    """Let garbage be collected from now on."""
    gc.freeze()
    gc.enable()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store in a folder of its own."""
    return Store(str(tmp_path / "store"), tmp_path / "scratch")


@pytest.fixture(scope="session")
def forge_cache() -> Path:
    """Where what torch compiles stands between test runs."""
    folder = Path(__file__).parent.parent / ".pytest_cache" / "torch_extensions"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
