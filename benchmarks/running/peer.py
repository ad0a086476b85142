"""The environment of datatrove, which Forge is measured against: made once, beside the other files of the benchmarks.

Set FORGE_CACHE to say where it stands.
"""

import os
import subprocess
import sys
from pathlib import Path

PEER = (
    "datatrove==0.10.1",
    "orjson==3.13.0",
    "spacy==3.8.18",
    "xxhash==3.8.1",
    "regex==2026.11.19",
    "tokenizers==0.23.3",
)
CACHE = Path(os.environ.get("FORGE_CACHE") or "~/.cache/forge-benchmarks").expanduser()


def datatrove_python() -> Path:
    """Return the interpreter that has datatrove and what its steps need."""
    folder = CACHE / "datatrove"
    ready = folder / "ready"
    if not ready.exists() or ready.read_text() != " ".join(PEER):
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "-q", *PEER], check=True)
        ready.write_text(" ".join(PEER))
    return folder / "bin/python"
