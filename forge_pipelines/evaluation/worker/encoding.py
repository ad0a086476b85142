"""Texts as token ids, and which of these are scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forge_pipelines.errors import DataError
from forge_pipelines.evaluation.scored import Spans, tokens_within
from forge_pipelines.evaluation.scoring import Shown


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text's token ids; those of ``scored`` are places in them, ascending, and never the first."""

    ids: Sequence[int]
    scored: Sequence[int]


def encode(tokenizer: Any, begin: int, texts: Sequence[Shown]) -> list[Encoded]:
    """Return each text's token ids: a plain text's with ``begin``, the token that begins a document, before them.

    Raises:
        DataError: the tokens do not give the text back, so the bits of the tokens are not those of the text.
    """
    return [
        _plain(tokenizer, begin, shown.text)
        if shown.spans is None
        else _conversation(tokenizer, shown.text, shown.spans)
        for shown in texts
    ]


def _plain(tokenizer: Any, begin: int, text: str) -> Encoded:
    # A document that quotes a special token ("</s>") is still only text.
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    if tokenizer.decode(ids, clean_up_tokenization_spaces=False) != text:
        raise _lossy(tokenizer)
    return Encoded([begin, *ids], range(1, len(ids) + 1))


def _conversation(tokenizer: Any, text: str, spans: Spans) -> Encoded:
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    # Some tokenizers set blanks around the marks of turns when they decode.
    if _without_blanks(tokenizer.decode(ids, clean_up_tokenization_spaces=False)) != _without_blanks(text):
        raise _lossy(tokenizer)
    return Encoded(ids, tokens_within(spans, offsets))


def _without_blanks(text: str) -> str:
    return "".join(text.split())


def _lossy(tokenizer: Any) -> DataError:
    message = "loses characters, and bits per character would be too low; it needs to be lossless (byte-level)"
    return DataError(f"the tokenizer of {tokenizer.name_or_path} {message}")
