"""A source in which something of every kind that a corpus leaves out is planted among plain documents."""

import json
import random
from dataclasses import replace
from pathlib import Path

from documents_in_memory import document

from forge_pipelines.manifest import Document

WORDS = (  # noqa: SIM905 - forty words are read more easily than forty strings
    "pump valve shaft seal oil grease hall yard fitter turns hours week morning button green cloth card rail housing "
    "press gauge bolt belt motor sensor panel switch alarm order spare part shelf number drawing sheet manual page"
).split()
QUESTION = "which of the two valves in the north hall is closed first when the large pump has to be stopped in a hurry"
SECRET = "Write to ada.byron@acme.example or pay DE89 3704 0044 0532 0130 00."
FOOTER = "This page is the property of Acme Works and may not leave the house."


def prose(draw: random.Random, num_words: int = 120) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(num_words)) + "."


def planted(count: int = 60) -> list[Document]:
    """Return plain documents with a footer each, and after them one or two of every kind that a corpus treats."""
    draw = random.Random(11)
    plain = [document("wiki", f"plain-{number:03}.md", f"{prose(draw)}\n\n{FOOTER}") for number in range(count)]
    words = plain[0].text.removesuffix(FOOTER).split()
    near = [*words[:60], "indeed", *words[61:]]
    return [
        *plain,
        document("wiki", "copy.md", plain[1].text),
        document("wiki", "near.md", f"{' '.join(near)}\n\n{FOOTER}"),
        document(
            "wiki", "secret.md", f"{prose(draw)} Write to ada.byron@acme.example or pay DE89 3704 0044 0532 0130 00."
        ),
        document("wiki", "exam.md", f"{prose(draw)} {QUESTION.upper()}? {prose(draw)}"),
        replace(document("wiki", "french.md", prose(draw)), language="fr"),
        replace(document("wiki", "old.md", prose(draw)), expires_at="2020-01-01T00:00:00+00:00"),
        replace(document("wiki", "foreign.md", prose(draw)), licence="LicenseRef-Other"),
        document("wiki", "draft.md", f"DRAFT {prose(draw)}"),
        document("wiki", "stub.md", "Too short."),
    ]


def rules(folder: Path) -> dict[str, object]:
    """Return a corpus's fields that find all of them, and write the files that the fields name."""
    (folder / "exam.jsonl").write_text(json.dumps({"text": QUESTION}) + "\n")
    return {
        "languages": {"allowed": ["en"]},
        "terms": {"licences": ["Apache-2.0"]},
        "repeated_lines": {"share": 0.5},
        "rules": [{"rule": "corpus_samples:no_drafts", "arguments": {"mark": "DRAFT"}}],
        "decontamination": {"evaluation_sets": [{"name": "exam", "path": str(folder / "exam.jsonl")}]},
    }


def no_drafts(given: Document, mark: str) -> str | None:
    """Reject what is marked: a rule as a data engineer would write it."""
    return f"is marked {mark}" if given.text.startswith(mark) else None
