"""Glob patterns over relative paths: ``*`` and ``?`` stay within a folder, ``**`` crosses them, ``[a-z]`` is a set."""

import re
from collections.abc import Iterable

_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]|.", re.DOTALL)
_MEANINGS = {"**/": "(?:.+/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def compile_globs(patterns: Iterable[str]) -> re.Pattern[str]:
    """Return one expression whose ``fullmatch`` holds for the paths that any of the patterns names.

    Raises:
        ValueError: a pattern leaves the folder, or holds a set that means nothing.
    """
    return re.compile("|".join(_translate(pattern) for pattern in patterns) or r"(?!)", re.DOTALL)


def compile_pruned(patterns: Iterable[str]) -> re.Pattern[str]:
    """Return one expression whose ``fullmatch`` holds for the folders that a pattern ``<folder>/**`` names whole."""
    return compile_globs(pattern.removesuffix("/**") for pattern in patterns if pattern.endswith("/**"))


def _translate(pattern: str) -> str:
    if pattern.startswith("/") or ".." in pattern.split("/"):
        raise ValueError(f"the pattern {pattern!r} leaves the folder; patterns are relative to it, without «..»")
    expression = "".join(_meaning(token) for token in _TOKEN.findall(pattern))
    try:
        re.compile(expression)
    except re.error as error:
        raise ValueError(f"the pattern {pattern!r} means nothing: {error}") from error
    return expression


def _meaning(token: str) -> str:
    if token in _MEANINGS:
        return _MEANINGS[token]
    if len(token) == 1:
        return re.escape(token)
    inside = token[1:-1].replace("\\", r"\\").replace("[", r"\[")
    return f"[^/{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
