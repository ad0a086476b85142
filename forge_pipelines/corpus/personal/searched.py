"""A text that is searched, and the few places where numbers stand in it: the costly patterns run only there.

Patterns of words that stand before a number are in lower case, and are sought in lower case: `re.IGNORECASE` costs
twice as much.
"""

import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

BLANK = r"[ \u00a0\u2009\u202f]"
DASH = r"[-\u2010\u2011\u2013]"
# Six digits or more with little between them: the shortest that any number in these files has in a row. A run of more
# than 40 digits is none of them, and is passed over in one step.
_NUMBERS = re.compile(
    r"[0-9](?=[0-9 \u00a0\u2009\u202f()./\-\u2010\u2011\u2013]{5})"
    r"(?:([0-9]{40,}+)|(?:[ \u00a0\u2009\u202f()./\-\u2010\u2011\u2013]{0,4}[0-9]){5,}+)"
)
_MARGIN_CHARACTERS = 24  # letters of an identifier may stand before and after its digits
# A digit comes first in these patterns, so they are sought fast.
_LETTERED = re.compile(
    r"[0-9](?<=[A-Za-z]{2}[0-9])[0-9](?:(?<![A-Za-z0-9][A-Za-z]{2}[0-9]{2})|(?<=[A-Za-z]{6}[0-9]{2}))"
)
_LABEL_REVERSED = re.compile(r"[^0-9\n;]*+")


@dataclass(frozen=True)
class Searched:
    """A text, with what several finders need to know of it."""

    text: str

    @cached_property
    def windows(self) -> Sequence[tuple[int, int]]:
        """Stretches (start, exclusive stop) around numbers of six digits or more, in order, without overlaps."""
        windows: list[tuple[int, int]] = []
        for match in _NUMBERS.finditer(self.text):
            if match[1]:
                continue
            start, stop = max(0, match.start() - _MARGIN_CHARACTERS), match.end() + _MARGIN_CHARACTERS
            if windows and start <= windows[-1][1]:
                windows[-1] = (windows[-1][0], stop)
            else:
                windows.append((start, stop))
        return windows

    @cached_property
    def lettered(self) -> Sequence[int]:
        """Where two digits stand after two letters that begin a word, or after six letters."""
        return array("Q", (match.start() for match in _LETTERED.finditer(self.text)))

    def heads_near_numbers(self, head: re.Pattern[str]) -> Iterator[tuple[int, int]]:
        """Yield where a pattern begins in a window, and the window's exclusive stop."""
        for start, stop in self.windows:
            for match in head.finditer(self.text, start, stop):
                yield match.start(), stop

    def word_before(self, words: re.Pattern[str], start: int, reach: int) -> int | None:
        """Return where the first of some words, in lower case, begins in the ``reach`` characters before a place."""
        first = max(0, start - reach)
        outside = max(0, first - 1)  # one character more, for the boundary of a word
        before = self.text[outside:start].lower()
        word = words.search(before, first - outside)
        return start - len(before) + word.start() if word else None

    def has_before(self, words: re.Pattern[str], start: int, reach: int = 40) -> bool:
        """Tell if one of the words, in lower case, stands in the ``reach`` characters before a place."""
        return self.word_before(words, start, reach) is not None

    def has_label(self, words: re.Pattern[str], start: int, reach: int = 40) -> bool:
        """Tell the same of words behind which no digit, end of line or semicolon stands until the place."""
        near = self.text[max(0, start - reach) : start]
        label = _LABEL_REVERSED.match(near[::-1])
        return label is not None and label.end() > 0 and self.has_before(words, start, label.end())
