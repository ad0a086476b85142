"""`forge` as a person or a pipe sees it."""

import re
from collections.abc import Callable, Sequence

Forge = Callable[..., tuple[int, list[str], str]]
"""What the fixture `forge` is: the exit code, the lines that were written, and what was said beside them."""

_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def plain(lines: Sequence[str]) -> list[str]:
    """Return lines as they are read, without their colours."""
    return [_ESCAPE.sub("", line).rstrip() for line in lines]
