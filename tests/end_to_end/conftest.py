"""One company for the tests that look at a finished chain, and new ones for those that break something."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from company import CONNECTIONS, Company, found_company, loopback_alone


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, forge_cache: Path) -> Company:
    """A company whose chain ran once, from documents to a registered model.

    Where it can, it runs with no network but loopback, and every connection that it makes is written down.
    """
    company = found_company(tmp_path_factory.mktemp("acme"), forge_cache)
    within = loopback_alone() if os.geteuid() == 0 and shutil.which("unshare") else []
    if shutil.which("strace"):
        log = str(company.home.parent.parent / CONNECTIONS)
        within = [*within, "strace", "--seccomp-bpf", "-f", "-qq", "-e", "trace=connect", "-o", log]
    result = company.forge("run", "clerk", within=within)
    assert result.returncode == 0, result.stdout + result.stderr
    return company


@pytest.fixture
def found(tmp_path: Path, forge_cache: Path) -> Callable[[], Company]:
    """Found a new company; its chain has not run."""
    return lambda: found_company(tmp_path / "acme", forge_cache)
