"""The same extracted documents for Forge and for datatrove, and a corpus made of them by either."""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from making_corpora.jobs import (
    kept_names,
    make,
    shared_rules,
    source_fields,
    store_in,
    write_exam,
)
from running.children import Ended, run
from running.peer import datatrove_python

from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.sources.stage import read_source

NUM_ITEMS = 100
ITEM_WORDS, RUN_WORDS = 20, 13
SIDES = ("forge", "datatrove")

_ONCE = Path(__file__).with_name("datatrove_once.py")
_SHARDS = 2
_GROUPS = {"gopher": "gopher", "repetition": "gopher repetition", "c4": "c4", "fineweb": "fineweb"}
_STEPS = {
    "Gopher Quality": "gopher",
    "Gopher Repetition": "gopher repetition",
    "C4 Quality": "c4",
    "FineWeb Quality": "fineweb",
    "N-grams decontaminate": "contaminated",
    "MinHash stage 4": "near_duplicate",
}


@dataclass(frozen=True, slots=True)
class Corpus:
    """What a side took for its corpus, the names that it keeps, and how many documents each step rejected."""

    ended: Ended
    kept: frozenset[str]
    rejected: Counter[str]


class Prepared:
    """Texts that stand extracted for both sides: as a published source, and as JSONL files."""

    def __init__(self, texts: Sequence[str], folder: Path) -> None:
        self._folder = folder
        named = {f"{number:05}.txt": text for number, text in enumerate(texts)}
        for path, text in named.items():
            _write(folder / "files" / path, text)
        for shard in range(_SHARDS):
            lines = [json.dumps({"id": name, "text": text}) for name, text in list(named.items())[shard::_SHARDS]]
            _write(folder / "jsonl" / f"{shard:05}.jsonl", "\n".join(lines) + "\n")
        write_exam(_items(texts), folder / "exam.jsonl")
        config = SourceConfig.model_validate(source_fields(folder / "files"))
        self._source = read_source(config, store_in(folder / "read")).manifest

    @property
    def media_types(self) -> Counter[str]:
        """What Forge's readers took the texts for: its rules of quality are not for code."""
        return Counter(self._source.counts["by_media_type"])

    def make(self, side: str, num_cores: int) -> Corpus:
        """Make a corpus in an empty folder, on so many cores."""
        work = self._folder / "made"
        shutil.rmtree(work, ignore_errors=True)
        return self._by_forge(work, num_cores) if side == "forge" else self._by_datatrove(work, num_cores)

    def _by_forge(self, work: Path, num_cores: int) -> Corpus:
        shutil.copytree(self._folder / "read" / "published", work / "published")
        asked = {"corpus": shared_rules(self._folder / "exam.jsonl"), "manifest": self._source.model_dump(mode="json")}
        made = make(work, asked, num_cores)
        rejected: Counter[str] = Counter()
        for rule, number in made.corpus.counts["rejected_by_rule"].items():
            rejected[_GROUPS.get(rule.partition("_")[0], rule)] += number
        return Corpus(made.ended, frozenset(kept_names(work, made.corpus)), rejected)

    def _by_datatrove(self, work: Path, num_cores: int) -> Corpus:
        shutil.copytree(self._folder / "jsonl", work / "documents")
        shutil.copy(self._folder / "exam.jsonl", work)
        ended = run([datatrove_python(), _ONCE, work, str(num_cores)], num_cores)
        lines = (line for path in (work / "kept").glob("*.jsonl") for line in path.open())
        steps = [step for path in work.glob("logs/*/stats.json") for step in json.loads(path.read_text())]
        return Corpus(ended, frozenset(json.loads(line)["id"] for line in lines), _dropped(steps))


def _items(texts: Sequence[str]) -> list[str]:
    """Return passages from the middle of some texts that stand in no other: neither side may keep those texts."""
    spaced = [" ".join(text.split()) for text in texts]
    everything, items = "\n".join(spaced), []
    for text in spaced[:: max(len(texts) // NUM_ITEMS, 1)]:
        words = text.split()
        start = len(words) // 2
        runs = [" ".join(words[at : at + RUN_WORDS]) for at in range(start, start + ITEM_WORDS - RUN_WORDS + 1)]
        if all(everything.count(run) == 1 for run in runs):
            items.append(" ".join(words[start : start + ITEM_WORDS]))
    return items


def _dropped(steps: Sequence[dict[str, Any]]) -> Counter[str]:
    dropped: Counter[str] = Counter()
    for step in steps:
        for title, name in _STEPS.items():
            if title in step["name"]:
                dropped[name] += _total(step["stats"].get("dropped", 0))
    return dropped


def _total(written: Any) -> int:
    """Return a statistic of datatrove, which is a number where all that it counts are ones."""
    return int(written["total"] if isinstance(written, dict) else written)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
