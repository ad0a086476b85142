"""A company's own `dg` project that depends on Forge: three YAML files, and an asset of its own."""

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from dg_project import begin_project

OWN_ASSET = """
import dagster as dg
from forge_assets.resources import StoreResource


@dg.asset(deps=[dg.AssetKey(["letters", "validated_corpus"])])
def corpus_facts(forge_store: StoreResource) -> dg.MaterializeResult:
    manifest = forge_store.open().latest("letters", "validated_corpus")
    return dg.MaterializeResult(metadata={"train": manifest.counts["train"], "made_from": dict(manifest.inputs)})
"""

SOURCE = """
type: forge_assets.components.Source

attributes:
  name: post
  folder: {path: "{{ env.ACME_DOCUMENTS }}", include: ["**/*.md"]}
  labels: {licence: CC-BY-4.0, classification: internal}
"""

CORPUS = """
type: forge_assets.components.Corpus

attributes:
  name: letters
  sources: [post]
  length: {min_characters: 20}
  split: {heldout_fraction: 0.2}
  expectations:
    - type: expect_column_values_to_be_in_set
      kwargs: {column: classification, value_set: [internal]}
"""

MODEL = """
type: forge_assets.components.Model

attributes:
  name: clerk
  shards:
    corpora: [{corpus: letters}]
    tokenizer: {vocabulary_size: 400}
    sequence_length: 64
  training:
    architecture:
      model_type: mistral
      hidden_size: 32
      intermediate_size: 64
      num_hidden_layers: 2
      num_attention_heads: 2
      num_key_value_heads: 2
    steps: 40
    batch_sequences: 4
    learning_rate: 0.01
    warmup_steps: 2
    checkpoint_every_steps: 10
  evaluation: {bootstrap_samples: 200}
  registration:
    gates: ["heldout/bits_per_character < base"]
"""


CONNECTIONS = "connections.strace"
"""The file beside a company in which every connection of its first run is written down."""


@dataclass(frozen=True)
class Company:
    """A project in ``root``, its documents, and a FORGE_HOME of its own."""

    root: Path
    home: Path
    cache: Path

    @property
    def documents(self) -> Path:
        return self.root / "documents"

    def defs(self, path: str) -> Path:
        return self.root / "acme" / "defs" / path

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "ACME_DOCUMENTS": str(self.documents),
            "FORGE_HOME": str(self.home),
            "FORGE_CACHE": str(self.cache),
            "FORGE_DEFINITIONS": "acme.definitions",
            "PYTHONPATH": str(self.root),
        }

    def forge(
        self, *arguments: str, timeout: float = 300, within: Sequence[str] = (), **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `forge`, perhaps within another command, and return what it printed."""
        return subprocess.run(
            [*within, sys.executable, "-m", "forge_assets.cli", *arguments],
            cwd=self.root,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `forge` in the background."""
        return subprocess.Popen(
            [sys.executable, "-m", "forge_assets.cli", *arguments],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


RAISE_LOOPBACK = """
import fcntl, os, socket, struct, sys
with socket.socket() as sock:
    fcntl.ioctl(sock, 0x8914, struct.pack("16sH14s", b"lo", 0x41, b""))  # SIOCSIFFLAGS: IFF_UP | IFF_RUNNING
os.execvp(sys.argv[1], sys.argv[1:])
"""


def loopback_alone() -> list[str]:
    """Return a command within which no interface but loopback exists; needs root."""
    return ["unshare", "--net", sys.executable, "-c", RAISE_LOOPBACK]


def found_company(root: Path, cache: Path, letters: int = 120) -> Company:
    """Write the project and its documents."""
    company = Company(root, root / "home", cache)
    begin_project(root, "acme")
    for path, content in {
        "acme/defs/own.py": OWN_ASSET,
        "acme/defs/post/defs.yaml": SOURCE,
        "acme/defs/letters/defs.yaml": CORPUS,
        "acme/defs/clerk/defs.yaml": MODEL,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(dedent(content))
    write_letters(company.documents, letters)
    return company


def write_letters(folder: Path, count: int) -> None:
    """Write letters that a small model can learn something from; the same ones at every call."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(7)
    names, goods = ["Ada", "Boris", "Chen", "Dora"], ["paper", "ink", "wax", "string"]
    for number in range(count):
        lines = [
            f"We send {draw.randrange(2, 99)} boxes of {draw.choice(goods)} to {draw.choice(names)}."
            for _ in range(draw.randrange(4, 12))
        ]
        text = f"# Letter {number}\n\nDear {draw.choice(names)},\n\n" + "\n".join(lines) + "\n\nYours, Acme\n"
        (folder / f"letter-{number:03d}.md").write_text(text)
