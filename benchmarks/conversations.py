"""What sft and dpo teach an open model of a bank's articles: measured on articles that it was not trained on.

`python benchmarks/conversations.py [--quick] [FOLDER]`. The demonstration's articles become chats (a heading is asked
for, its section answers) and preferences (the worse answer is a section of another article under a like heading). A
project of its own, left in FOLDER where one is named, trains low-rank matrices on either; `forge up` in it shows the
reports. Set FORGE_CACHE to say where the two packages of the demonstration stand, which are fetched once.
"""

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from running.project import begin_project

from forge_assets import demo
from forge_assets.faults import GATE_REFUSAL
from forge_pipelines.evaluation.reading import read_report
from forge_pipelines.evaluation.report import Report
from forge_pipelines.store import Store

STEPS, QUICK_STEPS = 48, 4
MOST_CHARACTERS, LEAST_CHARACTERS = 900, 60

SOURCE = """
    type: forge_assets.components.Source

    attributes:
      name: {name}
      folder: {{path: "{folder}", include: ["{name}.jsonl"]}}
      labels: {{licence: MIT, classification: internal}}
"""

CORPUS = """
    type: forge_assets.components.Corpus

    attributes:
      name: {name}_corpus
      sources: [{name}]
      split: {{heldout_fraction: 0.1}}
"""

MODEL = """
    type: forge_assets.components.Model

    attributes:
      name: {model}
      base: {base}
      shards:
        corpora: [{{corpus: {name}_corpus}}]
        sequence_length: 512
      training:
        objective: {objective}
        lora: {{rank: 16}}
        steps: {steps}
        batch_sequences: 4
        micro_batch_sequences: 2
        learning_rate: 0.0005
        warmup_steps: 4
        checkpoint_every_steps: 16
        gpus: {{count: 1}}
      evaluation: {{max_documents: {documents}}}
      registration: {{gates: ["{gate}"]}}
"""


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of an article under a heading of its own."""

    article: str
    heading: str
    text: str

    @property
    def question(self) -> str:
        """What somebody asks who gets the section for an answer."""
        return f"{self.article}: {self.heading}?"


@dataclass(frozen=True, slots=True)
class Taught:
    """A model of this measurement: what it learns from, how, and what it must show."""

    model: str
    records: str
    objective: str
    gate: str


TAUGHT = (
    Taught("bank_agent", "chats", "sft", "heldout/bits_per_character < base"),
    Taught("bank_judge", "preferences", "dpo", "heldout/preference_margin > base"),
)


def main(work: Path, *, quick: bool) -> None:
    """Write records and project, make both models, and show what their reports say."""
    home = work / "home"
    wheels, log = Path(os.environ.get("FORGE_CACHE", home / "cache")) / "wheels", home / "logs" / "demo.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    articles = demo.write_articles(home, wheels, log, lambda _: None)
    sections = [section for path in sorted(articles.glob("*.md")) for section in sections_of(path.read_text())]
    write_records(sections, work / "records")
    write_project(work, quick=quick)
    demo.bring_base_in(Store(str(home / "store"), home / "scratch"), wheels, log, lambda _: None)
    for taught in TAUGHT:
        started = time.monotonic()
        run(work, taught.model)
        show(taught, report_of(home, taught.model), time.monotonic() - started)


def sections_of(article: str) -> Iterator[Section]:
    """Yield an article's sections that are neither tables alone nor longer than an answer."""
    title, *parts = re.split(r"^#{1,3} ", article, flags=re.M)[1:]
    for part in parts:
        heading, _, text = part.partition("\n")
        if LEAST_CHARACTERS <= len(text.strip()) <= MOST_CHARACTERS and not text.strip().startswith("|"):
            yield Section(title.split("\n")[0].strip(), heading.strip().rstrip("?"), text.strip())


def write_records(sections: list[Section], folder: Path) -> None:
    """Write chats and preferences, a JSON object a line."""
    dice = random.Random(7)
    folder.mkdir(parents=True, exist_ok=True)
    chats = [{"prompt": each.question, "completion": each.text} for each in sections]
    pairs = [
        {"prompt": each.question, "chosen": each.text, "rejected": dice.choice(others).text}
        for each in sections
        if (others := [other for other in sections if _alike(each, other)])
    ]
    for name, records in {"chats": chats, "preferences": pairs}.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))


def _alike(section: Section, other: Section) -> bool:
    first = section.heading.split()[0].lower()
    return other.article != section.article and other.heading.lower().startswith(first) and other.text != section.text


def write_project(work: Path, *, quick: bool) -> None:
    """Write a project with a source, a corpus and a model for either kind of record."""
    begin_project(work, "bank")
    for taught in TAUGHT:
        said = {
            "name": taught.records,
            "folder": work / "records",
            "base": demo.BASE,
            "steps": QUICK_STEPS if quick else STEPS,
            "documents": 20 if quick else 60,
            **{name: getattr(taught, name) for name in ("model", "objective", "gate")},
        }
        for template, place in ((SOURCE, taught.records), (CORPUS, f"{taught.records}_corpus"), (MODEL, taught.model)):
            folder = work / "bank" / "defs" / place
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "defs.yaml").write_text(dedent(template.format(**said)))


def run(work: Path, model: str) -> None:
    """Run a model's whole chain; a gate that fails is what is measured, not a fault.

    Raises:
        RuntimeError: it ended otherwise.
    """
    told = {"FORGE_HOME": str(work / "home"), "FORGE_DEFINITIONS": "bank.definitions", "PYTHONPATH": str(work)}
    command = [sys.executable, "-m", "forge_assets.cli", "run", model]
    ended = subprocess.run(command, cwd=work, env={**os.environ, **told}, capture_output=True, text=True, check=False)
    print(ended.stdout, flush=True)
    if ended.returncode and GATE_REFUSAL not in ended.stderr:
        raise RuntimeError(f"{model} was not made: {ended.stdout}{ended.stderr}")


def report_of(home: Path, model: str) -> Report:
    """Return the report that was just made."""
    store = Store(str(home / "store"), home / "scratch")
    return read_report(store.open(store.latest(model, "evaluation_report")))


def show(taught: Taught, report: Report, seconds: float) -> None:
    """Show each metric beside the base's, with its paired interval."""
    print(f"{taught.model}, {taught.objective}: {report.documents} held-out {taught.records}, {seconds:.0f} s in all")
    for name, metric in report.metrics.items():
        low, high = metric.difference_interval
        figures: Mapping[str, Any] = {"base": metric.base, "after": metric.value, "difference": metric.difference}
        told = ", ".join(f"{what} {figure:.3f}" for what, figure in figures.items())
        print(f"  {name}: {told} ({low:+.3f} to {high:+.3f}) {metric.unit}", flush=True)


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--quick"]
    if arguments:
        main(Path(arguments[0]).resolve(), quick="--quick" in sys.argv)
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder), quick="--quick" in sys.argv)
