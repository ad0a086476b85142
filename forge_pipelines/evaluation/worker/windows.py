"""How a document longer than the context is scored: windows in which every token stands as a target exactly once.

A document is ``<bos> t1 … tN``; the input at position *i* predicts token *i* + 1, so every token of the text is
predicted, the first from ``<bos>`` alone. The first window is as long as the context and scores all of its positions.
Each next one moves on by half a context and scores only the positions that none before it scored, so that every token
is told from at least half a context of text before it (or from all of it, near the document's beginning). This is the
strided evaluation of https://huggingface.co/docs/transformers/perplexity with a stride of half the context.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """Positions [``start``, ``stop``) of a document, of which those from ``scored_from`` on are scored."""

    document: int
    start: int
    stop: int
    scored_from: int

    @property
    def length(self) -> int:
        """Positions that the network reads."""
        return self.stop - self.start


def windows(document: int, num_inputs: int, context: int) -> Iterator[Window]:
    """Yield the windows of a document with ``num_inputs`` positions; a short document's is shorter than ``context``."""
    stop = min(context, num_inputs)
    yield Window(document, 0, stop, scored_from=0)
    while stop < num_inputs:
        scored_from, stop = stop, min(stop + context // 2, num_inputs)
        yield Window(document, stop - context, stop, scored_from)


def batches(all_windows: Sequence[Window], max_positions: int) -> Iterator[list[Window]]:
    """Yield windows of like length together, the longest first: at most ``max_positions``, or one window, at once."""
    batch: list[Window] = []
    for window in sorted(all_windows, key=lambda each: -each.length):
        if batch and (len(batch) + 1) * batch[0].length > max_positions:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch
