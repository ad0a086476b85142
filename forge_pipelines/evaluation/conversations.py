"""What of a held-out conversation is scored: its answers alone, given what was said before them.

What training rejects is left out here too, and so is a text in whose answers no token stands whole.
"""

from collections.abc import Sequence

from forge_pipelines.evaluation.config import EvaluationConfig
from forge_pipelines.evaluation.heldout import Cut
from forge_pipelines.evaluation.scored import Part, ScoredText, Spans, tokens_within
from forge_pipelines.manifest import Document
from forge_pipelines.shards.chats import ChatError, ChatTemplate, require_apart

_ANSWERS: tuple[Part, ...] = ("chosen", "rejected")


def answers_of(template: ChatTemplate, config: EvaluationConfig) -> Cut:
    """Score the answers of chats, as far as they stand within ``max_characters``; other documents are left out."""

    def cut(document: Document) -> Sequence[ScoredText]:
        try:
            chat = template.chat(document)
        except ChatError:
            return ()
        limit = config.max_characters
        spans = tuple((start, min(stop, limit)) for start, stop in chat.answers if start < limit)
        if not spans:
            return ()
        text = chat.text[: spans[-1][1]]
        offsets = template.tokenizer.encode(text, add_special_tokens=False).offsets
        return (_scored(document, text, "answers", spans),) if tokens_within(spans, offsets) else ()

    return cut


def pairs_of(template: ChatTemplate, config: EvaluationConfig) -> Cut:
    """Score both answers of preferences, the better first; other documents are left out.

    So is a pair of which an answer ends beyond ``max_characters``: cut, it would be the likelier one for its length.
    """

    def cut(document: Document) -> Sequence[ScoredText]:
        try:
            prompt, *answered = template.pair(document)
            of_prompt, *encoded = template.tokenizer.encode_batch([prompt, *answered], add_special_tokens=False)
            require_apart(of_prompt.ids, *(each.ids for each in encoded))
        except ChatError:
            return ()
        spans = [((len(prompt), len(text)),) for text in answered]
        within = [tokens_within(each, encoding.offsets) for each, encoding in zip(spans, encoded, strict=True)]
        if not all(within) or max(map(len, answered)) > config.max_characters:
            return ()
        return [_scored(document, *each) for each in zip(answered, _ANSWERS, spans, strict=True)]

    return cut


def _scored(document: Document, text: str, part: Part, spans: Spans) -> ScoredText:
    return ScoredText(document.doc_id, document.source, document.uri, text, general=False, part=part, spans=spans)
