"""How tests read a file: everything that comes of it, what it says itself, or why it says nothing."""

from forge_pipelines.sources.place import Refusal
from forge_pipelines.sources.readers import unfolding
from forge_pipelines.sources.readers.reading import Part, Reading, ReadingOptions, Record

Outcome = Reading | Record | Refusal | None


def read_parts(content: bytes) -> dict[str, Outcome]:
    """Return what became of a file and of all that it holds, by path."""
    words = unfolding.read(content, ReadingOptions())
    return {word.path: word.outcome for word in words if isinstance(word, Part)}


def read_texts(content: bytes) -> dict[str, str]:
    """Return the texts that are in a file, by path; a refusal's rule in angle brackets."""
    said = {path: f"<{out.rule}>" if isinstance(out, Refusal) else out for path, out in read_parts(content).items()}
    return {path: out if isinstance(out, str) else out.text for path, out in said.items() if out is not None}


def read(content: bytes) -> Reading:
    """Return what a file says itself."""
    reading = read_parts(content)[""]
    assert isinstance(reading, Reading), f"it is refused, or says nothing: {reading}"
    return reading


def refused(content: bytes) -> tuple[str, str]:
    """Return the rule by which a file is refused, and the reason."""
    refusal = read_parts(content)[""]
    assert isinstance(refusal, Refusal), f"it is read: {refusal}"
    return refusal.rule, refusal.reason
