"""What Forge is asked to make, and how a process of its own is told to make it."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from making_corpora.texts import SOURCE
from running.children import Ended, Held, run, run_watched

from forge_pipelines.corpus.personal.findings import Kind
from forge_pipelines.corpus.reading import read_heldout, read_train
from forge_pipelines.manifest import Manifest
from forge_pipelines.store import Store

LANGUAGES = ("en", "de", "fr")
LABELS = {"licence": "LicenseRef-as-installed", "classification": "public"}

_ONCE = Path(__file__).with_name("forge_once.py")
_ITEM = (
    "Nobody has written the words of question {0}, such as {1}: zero{0} one{0} two{0} three{0} four{0} five{0} six{0}."
)


@dataclass(frozen=True, slots=True)
class Made:
    """What a process took, and what it made.

    Attributes:
        seconds: of each stage, by its name: source, corpus. The process itself took longer, see `ended`.
        worked: the stages that were not published already.
    """

    ended: Ended
    seconds: Mapping[str, float]
    worked: tuple[str, ...]
    documents: int
    corpus: Manifest


def source_fields(folder: Path) -> dict[str, Any]:
    """Return a source of all files of a folder."""
    return {"name": SOURCE, "folder": {"path": str(folder), "include": ["**/*"]}, "labels": LABELS}


def every_rule(folder: Path) -> dict[str, Any]:
    """Return a corpus with all rules that judge a document by itself, and near-copies; write its evaluation set."""
    exam = folder / "exam.jsonl"
    write_exam([_ITEM.format(number, number**7) for number in range(200)], exam)
    return {**shared_rules(exam), "languages": {"allowed": LANGUAGES}, "personal_data": {}}


def shared_rules(exam: Path) -> dict[str, Any]:
    """Return a corpus with the rules that datatrove has, too: languages were told when the source was read."""
    return {
        "name": "measured",
        "sources": [SOURCE],
        "quality": {},
        "decontamination": {"evaluation_sets": [{"name": "exam", "path": str(exam)}]},
        "personal_data": {kind.value: "redact" if kind in {Kind.EMAIL, Kind.IP} else "keep" for kind in Kind},
    }


def write_exam(items: list[str], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": item}) + "\n" for item in items))


def store_in(folder: Path) -> Store:
    """Return the store of the jobs that name this folder."""
    return Store(f"{folder}/published", folder / "scratch")


def make(store: Path, asked: Mapping[str, Any], num_cores: int = 2) -> Made:
    """Make a corpus in a process of its own; `forge_once.py` says what may be asked."""
    return _made(run(_command(store, asked), num_cores))


def make_watched(store: Path, asked: Mapping[str, Any]) -> tuple[Made, Held]:
    """Make a corpus as `make` does, on two cores; return, too, what its processes held together at most."""
    ended, held = run_watched(_command(store, asked))
    return _made(ended), held


def kept_names(store: Path, corpus: Manifest) -> set[str]:
    """Return the names of the files that a corpus keeps."""
    folder = store_in(store).open(corpus)
    return {Path(each.uri).name for part in (read_train(folder), read_heldout(folder)) for each in part}


def _command(store: Path, asked: Mapping[str, Any]) -> list[str]:
    job = store / "job.json"
    job.parent.mkdir(parents=True, exist_ok=True)
    job.write_text(json.dumps({"store": str(store), **asked}))
    return [sys.executable, str(_ONCE), str(job)]


def _made(ended: Ended) -> Made:
    said = json.loads(ended.said)
    seconds = {"source": said["source_seconds"], "corpus": said["corpus_seconds"]}
    return Made(ended, seconds, tuple(said["worked"]), said["documents"], Manifest.model_validate(said["corpus"]))
