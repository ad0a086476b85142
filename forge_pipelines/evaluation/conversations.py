"""What of a held-out conversation is scored: its answers alone, given what was said before them."""

from collections.abc import Sequence

from forge_pipelines.evaluation.config import EvaluationConfig
from forge_pipelines.evaluation.heldout import Cut
from forge_pipelines.evaluation.scored import Part, ScoredText, Spans
from forge_pipelines.manifest import Document, Segment
from forge_pipelines.shards.chats import ChatError, ChatTemplate

_ANSWERS: tuple[Part, ...] = ("chosen", "rejected")


def answers_of(template: ChatTemplate, config: EvaluationConfig) -> Cut:
    """Score the answers of chats, as far as they stand within ``max_characters``; other documents are left out."""

    def cut(document: Document) -> Sequence[ScoredText]:
        if document.kind != "chat":
            return ()
        scored = _scored(document, document.segments, template, config, "answers")
        return () if scored is None else (scored,)

    return cut


def pairs_of(template: ChatTemplate, config: EvaluationConfig) -> Cut:
    """Score both answers of preferences, the better first; other documents are left out."""

    def cut(document: Document) -> Sequence[ScoredText]:
        if document.kind != "preference":
            return ()
        prompt = tuple(segment for segment in document.segments if segment.role not in _ANSWERS)
        texts = {segment.role: segment.text for segment in document.segments}
        both = (
            _scored(document, (*prompt, Segment("assistant", texts[part])), template, config, part) for part in _ANSWERS
        )
        pair = [scored for scored in both if scored is not None]
        return pair if len(pair) == len(_ANSWERS) else ()

    return cut


def _scored(
    document: Document, segments: Sequence[Segment], template: ChatTemplate, config: EvaluationConfig, part: Part
) -> ScoredText | None:
    try:
        chat = template.render(segments)
    except ChatError:
        return None  # as it was to training
    # Of a preference the last answer alone: those before it stand in its prompt.
    spans = _within(chat.answers if part == "answers" else chat.answers[-1:], config.max_characters)
    if not spans:
        return None
    text = chat.text[: spans[-1][1]]
    return ScoredText(document.doc_id, document.source, document.uri, text, general=False, part=part, spans=spans)


def _within(spans: Spans, limit: int) -> Spans:
    return tuple((start, min(stop, limit)) for start, stop in spans if start < limit)
