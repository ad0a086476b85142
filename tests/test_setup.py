"""The first command on a fresh machine: what it says when something is missing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def make(tmp_path: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `make setup` on a copy of the files that it needs, with no virtual environment beside them."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    command = [shutil.which("make") or "make", "setup", *arguments]
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)


def fake(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_python_of_another_version_is_refused_in_one_sentence(tmp_path: Path) -> None:
    other = fake(tmp_path, "python-other", 'case "$1" in -c) exit 1;; *) echo Python 3.13.0;; esac')
    result = make(tmp_path, f"PYTHON={other}")
    assert result.returncode != 0
    assert "forge: Forge needs Python 3.11" in result.stderr
    assert "Python 3.13.0" in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_machine_without_a_compiler_is_told_what_to_install(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "sh", "test", "grep", "sed", "cat"):
        (tools / tool).symlink_to(shutil.which(tool) or pytest.fail(tool))
    right = fake(tmp_path, "python-right", "exit 0")
    result = make(tmp_path, f"PYTHON={right}", PATH=str(tools))
    assert result.returncode != 0
    assert "no C++ compiler" in result.stderr
    assert "apt install g++" in result.stderr
