"""Stop texts: an answer ends before the first of them, and no part of one is shown."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import replace

from forge_pipelines.serving.engine import Piece


async def end_before(
    stops: Sequence[str], pieces: AsyncIterator[Piece], count: Callable[[str], int], prompt_tokens: int
) -> AsyncGenerator[Piece, None]:
    """Yield the pieces of an answer up to the first stop text.

    Args:
        stops: none of them is empty.
        pieces: the answer as it is made.
        count: how many tokens a text has; an answer that is cut here has no counts of its engine.
        prompt_tokens: of the prompt.
    """
    shown, held = "", ""
    async for piece in pieces:
        held += piece.text
        if found := [held.index(stop) for stop in stops if stop in held]:
            text = held[: min(found)]
            yield Piece(text, "stop", prompt_tokens, count(shown + text))
            return
        keep = 0 if piece.finish_reason else _beginning(stops, held)
        text, held = held[: len(held) - keep], held[len(held) - keep :]
        shown += text
        if text or piece.finish_reason:
            yield replace(piece, text=text)


def _beginning(stops: Sequence[str], text: str) -> int:
    """Return how many characters at the end of a text may be the beginning of a stop text."""
    longest = min(len(text), max((len(stop) - 1 for stop in stops), default=0))
    return next((n for n in range(longest, 0, -1) if any(stop.startswith(text[-n:]) for stop in stops)), 0)
