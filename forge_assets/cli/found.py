"""A document or a rejection that was found: its cells for other programs, and its lines for a person."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from forge_pipelines.manifest import Document, Rejection
from forge_pipelines.sources.identity import standing

# Control characters, and those that reorder or break what a terminal shows; a lone surrogate cannot be written at all.
_UNSEEN = r"\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_UNSEEN_IN_LINE = re.compile(rf"[\x00-\x1f{_UNSEEN}]")
_UNSEEN_IN_TEXT = re.compile(rf"[\x00-\x08\x0b-\x1f{_UNSEEN}]")
_FIRST_CHARACTERS = 200
_BEFORE_MATCH_CHARACTERS = 40
_LINE_CHARACTERS = 400
_MATCH_STYLE = "bold black on yellow"


def visible(text: str, *, lines: bool = False) -> str:
    """Return a text whose control characters are written as escapes, so that a terminal obeys none.

    Args:
        text: what may hold anything.
        lines: line ends and tabs stay; else it is one line.
    """
    unseen = _UNSEEN_IN_TEXT if lines else _UNSEEN_IN_LINE
    return unseen.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text, and where in it (from, to) stands what was looked for."""

    text: str
    spans: Sequence[tuple[int, int]] = ()

    def drawn(self, style: str = "", *, lines: bool = False) -> Text:
        """Return it with what was looked for highlighted; see `visible`."""
        drawn, at = Text(style=style), 0
        for start, end in self.spans:
            drawn.append(visible(self.text[at:start], lines=lines))
            drawn.append(visible(self.text[start:end], lines=lines), _MATCH_STYLE)
            at = end
        return drawn.append(visible(self.text[at:], lines=lines))


def whole_passage(text: str, pattern: re.Pattern[str] | None) -> Passage:
    """Return all of a text, with every match of a pattern that there may be."""
    matches = pattern.finditer(text) if pattern else ()
    return Passage(text, [match.span() for match in matches if match[0]])


def line_found(text: str, pattern: re.Pattern[str]) -> tuple[int, Passage] | None:
    """Return number and text of the first line that a pattern matches in, shortened around the match; None if none."""
    found = pattern.search(text)
    if found is None:
        return None
    start = text.rfind("\n", 0, found.start()) + 1
    end = text.find("\n", found.start())
    end = len(text) if end < 0 else end
    low = max(start, found.start() - _BEFORE_MATCH_CHARACTERS)
    high = min(end, low + _LINE_CHARACTERS)
    spans = [match.span() for match in pattern.finditer(text, low, high) if match[0]]
    spans = spans or [(found.start(), min(found.end(), high))]
    before, after = "…" if low > start else "", "…" if high < end else ""
    shift = len(before) - low
    passage = Passage(before + text[low:high] + after, [(first + shift, last + shift) for first, last in spans])
    return text.count("\n", 0, start) + 1, passage


@dataclass(frozen=True, slots=True)
class FoundDocument:
    """A document.

    Attributes:
        document: it.
        part: ``train`` or ``heldout`` in a corpus, else empty.
        path: its path.
        line: number of the line that is shown, where a line was looked for and found.
        passage: what is shown of its text: the first words, that line, or all.
        full: whether that is all.
        searched: whether something was looked for.
    """

    document: Document
    part: str
    path: Passage
    line: int | None
    passage: Passage
    full: bool
    searched: bool

    def cells(self) -> list[str]:
        """Return what stands between tabs.

        That is part and source in a corpus, path, kind, media type, language, characters, the number of the line if
        one was looked for, and text.
        """
        document = self.document
        where = [self.part, document.source] if self.part else []
        about = [document.kind, document.media_type, document.language or "unknown", str(len(document.text))]
        line = [str(self.line or "")] if self.searched else []
        return [visible(cell) for cell in (*where, document.uri, *about, *line, self.passage.text)]

    def drawn(self) -> Iterator[Text]:
        """Yield its path with its labels, then its text."""
        document = self.document
        path = self.path.drawn("bold")
        if holder := standing(document).holder:
            path.stylize("not bold", 0, len(visible(holder)))
        labels = [self.part, document.source] if self.part else []
        labels += [] if document.kind == "text" else [document.kind]
        labels += [document.media_type, document.language or "unknown", f"{len(document.text):,} characters"]
        yield path.append(f"  {visible(' · '.join(labels))}", "not bold dim")
        if self.full:
            yield self.passage.drawn(lines=True)
            yield Text()
        else:
            yield _one_line(f"{self.line}: " if self.line else "", "cyan").append_text(self.passage.drawn())


@dataclass(frozen=True, slots=True)
class FoundRejection:
    """A rejection, with its path and its reason as they are shown."""

    rejection: Rejection
    in_corpus: bool
    path: Passage
    reason: Passage

    def cells(self) -> list[str]:
        """Return what stands between tabs: source in a corpus, path, rule, reason, excerpt."""
        row = self.rejection
        where = [row.source] if self.in_corpus else []
        return [visible(cell) for cell in (*where, row.uri, row.rule, row.reason, row.excerpt)]

    def drawn(self) -> Iterator[Text]:
        """Yield its path with its rule, its reason, and its excerpt if it has one."""
        row = self.rejection
        labels = f"{row.source} · {row.rule}" if self.in_corpus else row.rule
        yield self.path.drawn("bold").append(f"  {visible(labels)}", "not bold yellow")
        yield Text("    ").append_text(self.reason.drawn())
        if row.excerpt:
            yield _one_line(f"«{visible(row.excerpt)}»", "dim")


Found = FoundDocument | FoundRejection


def found_document(
    document: Document, part: str, pattern: re.Pattern[str] | None, *, full: bool
) -> FoundDocument | None:
    """Return what is shown of a document, or None where neither its text nor its path holds what is looked for."""
    line, passage = None, Passage(" ".join(document.text[: 2 * _FIRST_CHARACTERS].split())[:_FIRST_CHARACTERS])
    path = whole_passage(document.uri, pattern)
    if pattern is not None:
        found = line_found(document.text, pattern)
        if found is None and not pattern.search(document.uri):
            return None
        line, passage = found or (line, passage)
    if full:
        passage = whole_passage(_whole(document), pattern)
    return FoundDocument(document, part, path, line, passage, full=full, searched=pattern is not None)


def found_rejection(row: Rejection, *, in_corpus: bool, pattern: re.Pattern[str] | None) -> FoundRejection | None:
    """Return what is shown of a rejection, or None where neither its reason nor its path holds what is looked for."""
    if pattern is not None and not pattern.search(row.reason) and not pattern.search(row.uri):
        return None
    return FoundRejection(row, in_corpus, whole_passage(row.uri, pattern), whole_passage(row.reason, pattern))


def _one_line(text: str, style: str) -> Text:
    """Return a text that is cut where the terminal's line ends."""
    return Text("    ", no_wrap=True, overflow="ellipsis").append(text, style)


def _whole(document: Document) -> str:
    if document.kind == "text":
        return document.text
    return "\n\n".join(f"[{segment.role}] {segment.text}" for segment in document.segments)
