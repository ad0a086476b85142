"""A `dg` project of one's own that depends on Forge, to be filled with definitions."""

from pathlib import Path

_PYPROJECT = """\
[project]
name = "{package}"
version = "0"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "{package}"
"""
_DEFINITIONS = """\
from pathlib import Path

from forge_assets.platform import forge_definitions

defs = forge_definitions(Path(__file__).parent)
"""


def begin_project(root: Path, package: str) -> None:
    """Write a project without a component; its YAML goes under ``package/defs``."""
    (root / package).mkdir(parents=True, exist_ok=True)
    (root / "pyproject.toml").write_text(_PYPROJECT.format(package=package))
    (root / package / "__init__.py").touch()
    (root / package / "definitions.py").write_text(_DEFINITIONS)
