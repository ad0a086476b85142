"""One spelling for each text, so that equal texts have equal hashes: Unicode, line ends, control characters, blanks."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, groupby

from forge_pipelines.corpus.mojibake import repaired
from forge_pipelines.corpus.steps import Outcome
from forge_pipelines.manifest import Document, Segment, sha256_text

# The newline functions of the Unicode Standard, section 5.8. A form feed is one of them: it parts words.
_LINE_ENDS = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
# The remaining control characters (category Cc) but tab and line feed, and the byte order mark.
_REMOVED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff]")
# Marks that combine with the letter before them, more in a row than any script writes. Beyond the first plane they are
# not told from what else stands there: to search for each of those would take a hundred times as long.
_MARK = f"[{''.join(filter(unicodedata.combining, map(chr, range(1 << 16))))}\U00010000-\U0010ffff]"
_MANY_MARKS = re.compile(f"{_MARK}{_MARK}{{63,}}")
_MANY_BLANK_LINES = re.compile(r"\n{4,}")

_PROSE = frozenset({"text/x-rst", "text/x-markdown"})
_STRUCTURED = frozenset(
    {
        "application/javascript",
        "application/json",
        "application/sql",
        "application/toml",
        "application/x-ndjson",
        "application/xml",
        "application/yaml",
        "text/css",
        "text/csv",
        "text/javascript",
        "text/tab-separated-values",
        "text/xml",
    }
)


def normalize(documents: Sequence[Document]) -> Outcome:
    """Bring each document to its canonical text and recompute its ``text_sha256``; nothing is rejected.

    Errors of encoding are repaired but in code and tables. The ``doc_id`` stays as the source gave it.
    """
    return Outcome([_normalized(document) for document in documents])


def canonical(text: str, *, keep_blanks: bool) -> str:
    """Return the canonical form of a text.

    Args:
        text: any text.
        keep_blanks: leave blanks at the ends of lines, and blank lines, as they are.
    """
    # Composed last: what is removed may have stood between a letter and its accent.
    text = _MANY_MARKS.sub(_ordered, _REMOVED.sub("", _LINE_ENDS.sub("\n", text)))
    text = unicodedata.normalize("NFC", text)
    if not keep_blanks:
        # Line by line, because a pattern such as `[ \t]+\n` takes quadratic time on a long run of blanks.
        text = "\n".join(line.rstrip() for line in text.split("\n"))
        text = _MANY_BLANK_LINES.sub("\n\n\n", text)
    return text.strip("\n")


def blanks_matter(media_type: str) -> bool:
    """Tell code and tables, whose blanks carry meaning, from prose."""
    essence = media_type.partition(";")[0].strip().lower()
    return essence in _STRUCTURED or (essence.startswith("text/x-") and essence not in _PROSE)


def _ordered(run: re.Match[str]) -> str:
    """Bring marks into their canonical order: `unicodedata.normalize` takes quadratic time for it."""
    parts = groupby(run[0], key=lambda character: unicodedata.combining(character) > 0)
    return "".join(_sorted_marks("".join(part)) if are_marks else "".join(part) for are_marks, part in parts)


def _sorted_marks(marks: str) -> str:
    decomposed = chain.from_iterable(unicodedata.normalize("NFD", mark) for mark in marks)
    return "".join(sorted(decomposed, key=unicodedata.combining))


def _normalized(document: Document) -> Document:
    keep_blanks = blanks_matter(document.media_type)
    segments = tuple(
        Segment(
            segment.role,
            canonical(segment.text if keep_blanks else repaired(segment.text), keep_blanks=keep_blanks),
        )
        for segment in document.segments
    )
    changed = replace(document, segments=segments)
    return replace(changed, text_sha256=sha256_text(changed.text))
