"""A text that is searched, and the few stretches of it where long numbers stand: the costly patterns run only there."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

BLANK = r"[ \u00a0\u2009\u202f]"
DASH = r"[-\u2010\u2011\u2013]"
# Six digits or more with little between them: the shortest that any number in these files has in a row. A run of more
# than 40 digits is none of them, and is passed over in one step.
_NUMBERS = re.compile(r"[0-9](?:([0-9]{40,}+)|(?:[ \u00a0\u2009\u202f()./\-\u2010\u2011\u2013]{0,4}[0-9]){5,}+)")
_MARGIN_CHARACTERS = 24  # letters of an identifier may stand before and after its digits


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

    def matches_near_numbers(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        """Yield the matches of a pattern that stand in a window."""
        for start, stop in self.windows:
            yield from pattern.finditer(self.text, start, stop)

    def has_before(self, words: re.Pattern[str], start: int, reach: int = 40) -> bool:
        """Tell if one of the words stands in the ``reach`` characters before a place."""
        return words.search(self.text, max(0, start - reach), start) is not None
