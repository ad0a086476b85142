"""Source code and data in text, told by what stands in it, so that their blanks are kept. Prose about code is prose.

A shebang, an XML declaration, and a document that parses as JSON, YAML or TOML are certain. Anything else needs three
different signs of one language, and little prose at the margin.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from itertools import accumulate, islice, pairwise

import yaml

from forge_pipelines.sources.readers.code_signs import LANGUAGES, VARIANTS, Signs

_SNIFFED_CHARACTERS = 16 << 10
_SNIFFED_LINES = 400
_PARSED_CHARACTERS = 1 << 20
_ENOUGH_SIGNS = 3
_ENOUGH_OF_VARIANT = 2
_ENOUGH_AT_MARGIN = 2
_MOST_PROSE = 0.4
_DEEPEST = 64

_SHEBANG = re.compile(r"#! ?/\S{1,80}?/(?:env(?: -\S{1,20})? )?([a-z]{2,20})[\d.]{0,8}(?:\s|$)")
_PROGRAMS = {
    "python": "text/x-python",
    **dict.fromkeys(("sh", "bash", "dash", "zsh", "ksh"), "text/x-shellscript"),
    "perl": "text/x-perl",
    "ruby": "text/x-ruby",
    "php": "text/x-php",
    "node": "text/javascript",
}
_XML = re.compile(
    r"(?:<!--.{0,4000}?-->\s{0,99})?(?:<\?xml\s|<!DOCTYPE\s(?!html)|<[\w:.-]{1,60}\s[^<>]{0,999}\bxmlns(?::\w{1,40})?=)",
    re.IGNORECASE | re.DOTALL,
)
_FENCE = re.compile(r" {0,3}(```|~~~)(?!~)")
_WORD = r"[^\W\d_][\w'’-]{0,30}[,.:;!?)\"'`*_]{0,3}"
_PROSE = re.compile(rf"(?:[-*+•>]|\d{{1,2}}[.)])?\s{{0,4}}[\"'(`*_]{{0,3}}(?:{_WORD}\s){{3}}")
_NO_PROSE = re.compile(r"[;{}(\[=&|\\>]$|\w\(|[\])][;:]|\s[:!=+|&-]?=\s|::|=>|->|\$\w")
_TOML = re.compile(r"\[{1,2}[\w.\"' -]{1,80}\]{1,2}\s{0,9}(?:#|$)|[\w.\"-]{1,80} {0,40}= {0,9}\S")
_YAML_KEY = re.compile(r"(?:- )?(?:[\w./$-]{1,60}|\"[^\"]{1,60}\"|'[^']{1,60}'):(?: |$)")
_YAML_BEGINS = re.compile(rf"{_YAML_KEY.pattern}|---|%YAML|#|- ")
_COMMENT = re.compile(r"[rRuU]?(\"\"\"|'''|/\*|<!--|=(?=[a-z]))")
_ENDS = {'"""': '"""', "'''": "'''", "/*": "*/", "<!--": "-->", "=": "=cut"}


def media_type(text: str) -> str | None:
    """Return the media type of source code or data; None where the text is prose, or nothing certain."""
    head = text[:_SNIFFED_CHARACTERS]
    start = head.lstrip("\ufeff \t\r\n")
    shebang = _SHEBANG.match(start)
    if shebang is not None and shebang[1] in _PROGRAMS:
        return _PROGRAMS[shebang[1]]
    if start[:5].lower() == "<?php":
        return "text/x-php"
    if start[:1] == "<" and _XML.match(start):
        return "application/xml"
    if start[:1] in ("{", "[") and len(text) <= _PARSED_CHARACTERS and _is_json(text):
        return "application/json"
    return _by_lines(text, list(islice(_lines(head), _SNIFFED_LINES)))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _lines(head: str) -> Iterator[str]:
    """Yield the lines that hold anything and do not stand between a document's fences."""
    within: list[str] = []
    fence = ""
    for line in filter(None, map(str.rstrip, head.split("\n"))):
        mark = _FENCE.match(line)
        if fence:
            within.append(line)
            if mark is not None and mark[1] == fence:
                fence = ""
        elif mark is not None:
            fence, within = mark[1], []
        else:
            yield line
    yield from within if fence else ()


def _by_lines(text: str, lines: list[str]) -> str | None:
    if len(text) <= _PARSED_CHARACTERS and _is_yaml(text, lines):
        return "application/yaml"
    if len(text) <= _PARSED_CHARACTERS and _is_toml(text, lines):
        return "application/toml"
    return None if _is_prose(lines) else _language("\n" + "\n".join(lines) + "\n")


def _is_yaml(text: str, lines: list[str]) -> bool:
    """Tell whether the text is YAML beyond doubt: several keys, and something below one."""
    if not lines or not _YAML_BEGINS.match(lines[0]) or not _has_below(lines):
        return False
    if sum(1 for line in lines if _YAML_KEY.match(line.lstrip())) < _ENOUGH_SIGNS:
        return False
    try:
        return _is_shallow(yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (yaml.YAMLError, RecursionError):
        return False


def _is_shallow(events: Iterable[yaml.Event]) -> bool:
    """Tell whether nothing nests too deeply, which would cost the parser quadratic time."""
    depths = (
        isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent) for event in events
    )
    return all(depth <= _DEEPEST for depth in accumulate(depths))


def _has_below(lines: list[str]) -> bool:
    return any(
        before.endswith(":") and not line.startswith("#") and (line[0].isspace() or line.startswith("- "))
        for before, line in pairwise(lines)
    )


def _is_toml(text: str, lines: list[str]) -> bool:
    if sum(1 for line in lines if _TOML.match(line)) < _ENOUGH_SIGNS:
        return False
    try:
        tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return False
    return True


def _is_prose(lines: list[str]) -> bool:
    outer = list(_outside_comments(line for line in lines if not line[0].isspace()))
    prose = sum(1 for line in outer if _PROSE.match(line) and not _NO_PROSE.search(line[-200:]))
    return prose > _MOST_PROSE * len(outer)


def _outside_comments(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines that stand outside of comments over several lines; what is not closed is no comment."""
    within: list[str] = []
    end = ""
    for line in lines:
        opened = None if end else _COMMENT.match(line)
        if opened is not None:
            end = _ENDS[opened[1]]
        if not end:
            yield line
        elif end in line[0 if opened is None else opened.end() :]:
            end, within = "", []
        else:
            within.append(line)
    yield from within if end != "=cut" else ()


def _language(code: str) -> str | None:
    """Return the media type of the language of which there are most signs."""
    counts = {kind: sum(_signs_in(code, signs)) for kind, signs in LANGUAGES.items()}
    more = {kind: _signs_in(code, signs) for kind, (_, signs) in VARIANTS.items() if counts[kind]}
    kind = max(counts, key=lambda kind: counts[kind] + sum(more.get(kind, ())))
    starts, words = more.get(kind, (0, 0))
    if counts[kind] + starts + words < _ENOUGH_SIGNS or not _begin_lines(kind, code):
        return None
    return VARIANTS[kind][0] if starts or words >= _ENOUGH_OF_VARIANT else kind


def _signs_in(code: str, signs: Signs) -> tuple[int, int]:
    """Return how many different signs lines begin with, and how many stand anywhere."""
    if signs.needed and not any(word in code for word in signs.needed):
        return 0, 0
    starts = {sign.lastindex for sign in signs.starts.finditer(code)}
    return len(starts), sum(1 for words in signs.words if any(word in code for word in words))


def _begin_lines(kind: str, code: str) -> bool:
    """Tell whether signs stand where lines begin: in a document, code is set in."""
    patterns = [LANGUAGES[kind].starts, *(VARIANTS[kind][1].starts for _ in range(kind in VARIANTS))]
    found = {
        (number, sign.lastindex)
        for number, pattern in enumerate(patterns)
        for sign in pattern.finditer(code)
        if not code[sign.start() + 1].isspace()
    }
    return len(found) >= _ENOUGH_AT_MARGIN
