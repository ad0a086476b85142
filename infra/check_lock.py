"""Fails when requirements.lock does not answer what pyproject.toml asks for. Reads files only."""

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def main() -> int:
    """Compare every direct requirement with its pin; print one sentence for each that does not hold."""
    root = Path(__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [Requirement(text) for group in [project["dependencies"], *extras] for text in group]
    pins = {
        canonicalize_name(name): version
        for name, version in re.findall(
            r"^([\w.-]+)(?:\[[^\]]*\])?==(\S+)", (root / "requirements.lock").read_text(), re.M
        )
    }
    stale = [
        requirement
        for requirement in wanted
        if requirement.name != "torch"
        and not requirement.specifier.contains(pins.get(canonicalize_name(requirement.name), "0"), prereleases=True)
    ]
    for requirement in stale:
        sys.stderr.write(f"requirements.lock does not answer {requirement} of pyproject.toml; run make lock\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
