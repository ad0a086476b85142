"""The published rules of quality: Gopher's, C4's and FineWeb's, each in its own file, with the papers' thresholds.

They were made for pages of the web. They say nothing of code and tables, nor of chats and preferences. All measure the
text as it comes; C4's then leave lines out of what is kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from pydantic import Field

from forge_pipelines.corpus.c4 import C4Rules, c4_checks, unwanted_lines, without
from forge_pipelines.corpus.checks import Check, at_least
from forge_pipelines.corpus.fineweb import FineWebRules, fineweb_checks
from forge_pipelines.corpus.gopher import GopherRules, gopher_checks
from forge_pipelines.corpus.layout import Layout, lay_out, share
from forge_pipelines.corpus.normalize import blanks_matter, canonical
from forge_pipelines.corpus.repetition import RepetitionRules, repetition_checks
from forge_pipelines.corpus.steps import Outcome, reject
from forge_pipelines.corpus.words import ALPHABETIC, UNSPACED, Flags, slices
from forge_pipelines.manifest import Document, Rejection, Segment, Value, sha256_text

JUDGED_CHARACTERS = 2_000_000
_MOST_UNSPACED = 0.3


class QualityRules(Value):
    """Published rules of quality, all on unless said otherwise; `null` switches a paper's rules off."""

    gopher: GopherRules | None = Field(default_factory=GopherRules, description="Rae et al. 2021: quality.")
    repetition: RepetitionRules | None = Field(
        default_factory=RepetitionRules, description="Rae et al. 2021, table A1: repetition."
    )
    c4: C4Rules | None = Field(default_factory=C4Rules, description="Raffel et al. 2020.")
    fineweb: FineWebRules | None = Field(default_factory=FineWebRules, description="Penedo et al. 2024.")


def judge_quality(documents: Sequence[Document], rules: QualityRules) -> Outcome:
    """Reject documents by the first rule that they break, with what was measured and the bound.

    A longer document is judged by, and cleaned within, its first 2,000,000 characters.
    """
    judged = [document for document in documents if _is_prose(document)]
    heads = [_head(document.text) for document in judged]
    verdicts: dict[str, Document | Rejection] = {}
    for part in slices(heads):
        for document, verdict in zip(judged[part], _judge(judged[part], heads[part], rules), strict=True):
            verdicts[document.doc_id] = verdict
    outcomes = [verdicts.get(document.doc_id, document) for document in documents]
    kept = [outcome for outcome in outcomes if isinstance(outcome, Document)]
    return Outcome(kept, [outcome for outcome in outcomes if isinstance(outcome, Rejection)])


def _is_prose(document: Document) -> bool:
    return document.kind == "text" and not blanks_matter(document.media_type)


def _head(text: str) -> str:
    if len(text) <= JUDGED_CHARACTERS:
        return text
    return text[: text.rfind("\n", 0, JUDGED_CHARACTERS) + 1] or text[:JUDGED_CHARACTERS]


def _judge(documents: Sequence[Document], heads: Sequence[str], rules: QualityRules) -> Iterator[Document | Rejection]:
    layout = lay_out(heads)
    spaced = _spaced(layout)
    unwanted = np.zeros(len(layout.lines.text), np.bool_)
    if rules.c4 is not None:
        unwanted = unwanted_lines(rules.c4, layout, spaced)
    languages = [document.language for document in documents]
    broken: dict[int, Check] = {}
    for check in _checks(rules, layout, languages, spaced, unwanted):
        for failed in np.flatnonzero(check.failed):
            broken.setdefault(int(failed), check)
    for number, document in enumerate(documents):
        if number in broken:
            yield reject(document, broken[number].rule, broken[number].reason(number))
        else:
            yield document if rules.c4 is None else _cleaned(document, rules.c4, layout, number, unwanted)


def _checks(
    rules: QualityRules, layout: Layout, languages: Sequence[str | None], spaced: Flags, unwanted: Flags
) -> Iterator[Check]:
    if rules.gopher is not None:
        yield from gopher_checks(rules.gopher, layout, languages, spaced)
    if rules.repetition is not None:
        yield from repetition_checks(rules.repetition, layout, spaced)
    if rules.c4 is not None:
        yield from c4_checks(rules.c4, layout, unwanted)
    if rules.fineweb is not None:
        yield from fineweb_checks(rules.fineweb, layout)
    left = layout.count_lines(~unwanted)
    yield at_least("c4_lines", left, 1 if rules.c4 is not None else None, "{} lines worth keeping")


def _cleaned(document: Document, rules: C4Rules, layout: Layout, number: int, unwanted: Flags) -> Document:
    start, end = np.searchsorted(layout.lines.text, [number, number + 1])
    numbers = frozenset(layout.lines.line[start:end][unwanted[start:end]].tolist())
    text = document.text
    cleaned = without(text, numbers, rules)
    if cleaned == text:
        return document
    cleaned = canonical(cleaned, keep_blanks=False)
    segments = (Segment(document.segments[0].role, cleaned),)
    return replace(document, segments=segments, text_sha256=sha256_text(cleaned))


def _spaced(layout: Layout) -> Flags:
    """Tell which texts are, for the most part, written with spaces between words: shape [texts]."""
    bounds, classes = layout.words.bounds[:-1], layout.words.classes
    if not (classes & UNSPACED).any():
        return np.ones(len(bounds), np.bool_)
    unspaced = np.add.reduceat((classes & UNSPACED) != 0, bounds, dtype=np.float64)
    letters = np.add.reduceat((classes & ALPHABETIC) != 0, bounds, dtype=np.float64)
    return share(unspaced, letters) <= _MOST_UNSPACED
