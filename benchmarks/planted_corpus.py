"""What a corpus's rules catch of what is planted among 10,000 real documents, and what they miss, by kind.

`python benchmarks/planted_corpus.py [--quick]`: with 1,000 documents. One run of `read_source` and `validate` with all
rules; then every held-out document is compared with all of train by an exact search of its own. The real documents are
those of this machine and Debian's installation guide, whose translations make half-translated copies; evaluation items
are paragraphs of Debian's FAQ, hosts are pages of PostgreSQL's manual and of the guide. Set FORGE_CACHE to say where
these packages stand, which are fetched once.
"""

import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tests" / "pipelines" / "corpus"))

from planted.across import nearest_in_train
from planted.estate import ALLOWED, FULL, Estate, gather
from planted.kinds import COPY, DRAFT, NAMES, NEAR, PLACEHOLDER, SEED, SET, Planted, evaluation_items, plant
from planted.outcomes import Corpus, table

from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.reading import read_heldout, read_train
from forge_pipelines.corpus.split import Part
from forge_pipelines.corpus.stage import validate
from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.sources.stage import read_source
from forge_pipelines.store import Store
from forge_pipelines.tables import read_rejections

QUICK = 1000
EACH, QUICK_EACH = 100, 10
HELDOUT = 0.2
STEPS = (0.3, 0.4, NEAR, COPY)
SHOWN = 3

_WRITTEN, _PLANTED, _EXPIRED = 1_767_225_600, 1_769_904_000, 1_577_836_800  # 2026-01-01, 2026-02-01, 2020-01-01


def main(work: Path, *, quick: bool) -> None:
    dice = random.Random(SEED)
    estate = gather(QUICK if quick else FULL, dice)
    each = QUICK_EACH if quick else EACH
    planted = plant(estate, each, dice)
    write(estate, planted, work / "estate")
    announce(estate, planted)
    corpus = make(work, each)
    print("\n".join(table(planted, corpus)), flush=True)
    show_real(estate, corpus)
    show_excerpts(planted, corpus)
    show_across(corpus)


def write(estate: Estate, planted: Sequence[Planted], folder: Path) -> None:
    """Write all documents as files, the planted ones a month younger; those that have expired are of 2020."""
    for path, text in estate.documents.items():
        _write(folder / path, text, _WRITTEN)
    for each in planted:
        _write(folder / each.path, each.text, _EXPIRED if each.kind == "expired" else _PLANTED)


def make(work: Path, each: int) -> Corpus:
    """Read the estate and make the corpus of it, in one run; return what became of every file."""
    store = Store(str(work / "store"), work / "scratch")
    started = time.monotonic()
    source = read_source(SourceConfig.model_validate(source_fields(work)), store).manifest
    read = time.monotonic()
    manifest = validate(CorpusConfig.model_validate(corpus_fields(work, each)), [source], store).manifest
    print(
        f"  read in {read - started:.0f} s, validated in {time.monotonic() - read:.0f} s; {manifest.counts['train']:,} "
        f"documents in train, {manifest.counts['heldout']:,} held out",
        flush=True,
    )
    folder = store.open(manifest)
    kept: dict[str, tuple[Part, str]] = {each.uri: ("train", each.text) for each in read_train(folder)}
    kept |= {each.uri: ("heldout", each.text) for each in read_heldout(folder)}
    files = (folder / "rejections.parquet", store.open(source) / "rejections.parquet")
    return Corpus(kept, {each.uri: each for file in files for each in read_rejections(file)})


def source_fields(work: Path) -> dict[str, Any]:
    overrides = [
        {"paths": ["planted/expired/**"], "retain_days": 30},
        {"paths": ["planted/forbidden_licence/**"], "licence": "LicenseRef-Not-Ours"},
        {"paths": ["planted/forbidden_purpose/**"], "purpose": "advertising"},
    ]
    return {
        "name": "estate",
        "folder": {"path": str(work / "estate")},
        "labels": {"licence": "LicenseRef-As-Installed", "classification": "public", "overrides": overrides},
    }


def corpus_fields(work: Path, each: int) -> dict[str, Any]:
    """Return a corpus with every rule, and write the files that it names."""
    items = work / f"{SET}.jsonl"
    items.write_text("".join(json.dumps({"text": item.text}) + "\n" for item in evaluation_items(each * 3 // 2).items))
    (work / "names").mkdir()
    (work / "names" / "names.txt").write_text("\n".join(NAMES))
    return {
        "name": "planted",
        "sources": ["estate"],
        "terms": {"licences": ["LicenseRef-As-Installed"], "purposes": ["training"]},
        "languages": {"allowed": ALLOWED},
        "repeated_lines": {},
        "quality": {},
        "rules": [{"rule": "corpus_samples:no_drafts", "arguments": {"mark": DRAFT}}],
        "decontamination": {"evaluation_sets": [{"name": SET, "path": str(items)}]},
        "personal_data": {"names_model": str(work / "names")},
        "near_duplicates": {"similarity": COPY, "split_similarity": NEAR},
        "split": {"heldout_fraction": HELDOUT},
    }


def announce(estate: Estate, planted: Sequence[Planted]) -> None:
    megabytes = sum(len(text.encode()) for text in estate.documents.values()) / 1e6
    num_code = sum(path.endswith(".py") for path in estate.documents)
    print(
        f"planted corpus: {len(estate.documents):,} real documents, {megabytes:.0f} MB, {num_code:,} of them Python; "
        f"{len(planted):,} planted, seed {SEED} (load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores before)",
        flush=True,
    )


def show_real(estate: Estate, corpus: Corpus) -> None:
    """Show what became of the documents that nobody planted."""
    rejected = {path: corpus.rejected[path] for path in estate.documents if path in corpus.rejected}
    for name, is_code in (("prose", False), ("Python", True)):
        rules = Counter(each.rule for path, each in rejected.items() if path.endswith(".py") is is_code)
        number = sum(path.endswith(".py") is is_code for path in estate.documents)
        counted = ", ".join(f"{rule} {count}" for rule, count in rules.most_common())
        print(f"real {name}: {number:,}, of which rejected {rules.total():,}: {counted or 'none'}")
    contaminated = [f"{path}: {each.reason}" for path, each in rejected.items() if each.rule == "contaminated"]
    print("\n".join(f"  contaminated: {each}" for each in contaminated[:SHOWN]))


def show_excerpts(planted: Sequence[Planted], corpus: Corpus) -> None:
    """Show how many planted secrets and data stand in what is said of rejected documents."""
    said = [f"{each.reason}\n{each.excerpt}" for each in corpus.rejected.values()]
    items = {each.item for each in planted if each.item is not None and PLACEHOLDER in each.rules}
    held = [item for item in items if any(item in words for words in said)]
    print(f"planted secrets and personal data in the reasons and excerpts of rejections: {len(held)} of {len(items)}")


def show_across(corpus: Corpus) -> None:
    """Show how many held-out documents have a near-copy in train, by steps of similarity."""
    started = time.monotonic()
    heldout = {path: text for path, (part, text) in corpus.kept.items() if part == "heldout"}
    train = ((path, text) for path, (part, text) in corpus.kept.items() if part == "train")
    pairs = nearest_in_train(heldout, train)
    counts = [sum(pair.jaccard >= step for pair in pairs) for step in STEPS]
    counted = ", ".join(f"{count} at {step:g} and more" for step, count in zip(STEPS, counts, strict=True))
    print(
        f"held-out documents with a near-copy in train, by exact comparison ({time.monotonic() - started:.0f} s): "
        f"{counts[STEPS.index(NEAR)]} of {len(heldout):,}; their nearest in train: {counted}"
    )
    for pair in pairs[:SHOWN]:
        print(f"  nearest: {pair.heldout} and {pair.train}, {pair.jaccard:.3f}")


def _write(path: Path, text: str, written_at: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    os.utime(path, (written_at, written_at))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder), quick="--quick" in sys.argv)
