"""Secrets: private keys (PEM), JSON web tokens, and the keys and tokens of services and clouds.

Shapes of the services' keys: what each documents, as gathered in gitleaks' rules (github.com/gitleaks/gitleaks,
config/gitleaks.toml, MIT licence) and GitHub's list of secret scanning patterns.
"""

import base64
import binascii
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain

from forge_pipelines.corpus.personal.findings import Found, Kind
from forge_pipelines.corpus.personal.searched import Searched

_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{1,45}-----")
_PEM_LINES = re.compile(r"(?:[\s\\rn]{0,8}[A-Za-z0-9+/=]{20,80}){0,400}+")
_PEM_CHARACTERS = 32_768

_JWT = re.compile(
    r"eyJ(?<![\w-]eyJ)([A-Za-z0-9_-]{8,4096}+)\.([A-Za-z0-9_-]{4,16384}+)\.([A-Za-z0-9_-]{0,2048}+)(?![\w-])"
)


_Keys = tuple[tuple[tuple[str, ...], re.Pattern[str]], ...]


def _keys(*shapes: tuple[tuple[str, ...], str]) -> _Keys:
    """Return literals, one of which must stand in a text, with the key that begins there, for several services."""
    return tuple((literals, re.compile(rf"{shape}(?![A-Za-z0-9])")) for literals, shape in shapes)


# What stands around a dash or an underscore in some literals, then the services' keys. One character is sought fast,
# and the literals only where it stands so; they come first in the patterns, too.
_SERVICES: tuple[tuple[re.Pattern[str] | None, _Keys], ...] = (
    (
        None,
        _keys(
            # AWS: access key IDs
            (("AKIA", "ASIA"), r"A[KS]IA(?<![A-Za-z0-9]A[KS]IA)[A-Z2-7]{16}"),
            # Google: API keys, access tokens
            (("AIza",), r"AIza(?<![\w-]AIza)[\w-]{35}"),
            (("ya29.",), r"ya29\.(?<!\wya29\.)[\w-]{20,1024}+"),
            # Azure: storage accounts; Service Bus and Event Hubs
            (("AccountKey=",), r"AccountKey=[A-Za-z0-9+/]{86}=="),
            (("SharedAccessKey=",), r"SharedAccessKey=[A-Za-z0-9+/]{43}="),
            # Webhooks of Slack
            (("hooks.slack.com/services/",), r"hooks\.slack\.com/services/[A-Za-z0-9/]{40,60}+"),
            # SendGrid, Databricks
            (("SG.",), r"SG\.(?<!\wSG\.)[\w-]{22}\.[\w-]{43}"),
            (("dapi",), r"dapi(?<!\wdapi)[a-f0-9]{32}"),
        ),
    ),
    (
        re.compile(
            r"_(?<=[a-z]_)(?:(?<=gh[pousr]_)|(?<=github_)(?=pat_)|(?<=k_)(?=live_|test_)|(?<=whsec_)|(?<=hf_)|(?<=npm_)"
            r"|(?<=dop_)(?=v1_))"
        ),
        _keys(
            # GitHub: classic, fine-grained
            (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_(?<!\wgh[pousr]_)[A-Za-z0-9]{36}"),
            (("github_pat_",), r"github_pat_[A-Za-z0-9_]{82}"),
            # Stripe: keys, webhook secrets
            (("k_live_", "k_test_"), r"[rs]k_(?<!\w[rs]k_)(?:live|test)_[A-Za-z0-9]{16,200}+"),
            (("whsec_",), r"whsec_[A-Za-z0-9+/]{24,64}+={0,2}"),
            # Hugging Face, npm, DigitalOcean
            (("hf_",), r"hf_(?<!\whf_)[A-Za-z]{34}"),
            (("npm_",), r"npm_(?<!\wnpm_)[A-Za-z0-9]{36}"),
            (("dop_v1_",), r"dop_v1_[a-f0-9]{64}"),
        ),
    ),
    (
        re.compile(
            r"-(?<=[A-Za-z]-)(?:(?<=GOCSPX-)|(?<=t-)(?:(?<=gl[rdf]t-)|(?<=glpat-)|(?<=glptt-)|(?<=glsoat-)|(?<=glagent-))"
            r"|(?<=xox[abeoprs]-)|(?<=xapp-)|(?<=pypi-)(?=AgE))"
        ),
        _keys(
            # Google: OAuth client secrets
            (("GOCSPX-",), r"GOCSPX-[\w-]{28}"),
            # GitLab: personal, runner, deploy, trigger, feed, service account, agent
            (
                ("glpat-", "glrt-", "gldt-", "glptt-", "glft-", "glsoat-", "glagent-"),
                r"gl(?:pat|rt|dt|ptt|ft|soat|agent)-[\w-]{20,64}+",
            ),
            # Slack: tokens, app tokens
            (("xox",), r"xox[abeoprs]-[A-Za-z0-9-]{10,200}+"),
            (("xapp-",), r"xapp-[0-9]-[A-Za-z0-9-]{10,200}+"),
            # PyPI
            (("pypi-AgE",), r"pypi-AgE[\w-]{50,1000}+"),
        ),
    ),
)
_AZURE_CLIENT_SECRET = re.compile(r"Q~(?<=(?<![\w.~-])[\w.~]{3}[0-9]Q~)[\w.~-]{31,34}(?![\w.~-])")
_AZURE_CLIENT_SECRET_HEAD = 4
_SK = re.compile(r"sk-(?<![\w-]sk-)([\w-]{20,200}+)(?!\w)")  # OpenAI, Anthropic and those who follow them

_URL_PASSWORD = re.compile(r"://[^\s:@/?#\[\]]{0,64}+:([^\s:@/?#<>{}$*]{6,128}+)@")
_PASSWORDS_OF_MANUALS = frozenset({"password", "passwd", "secret", "changeme", "example", "mysecretpassword"})

_ASSIGNED = tuple(
    re.compile(
        rf"{sign}(?:[>=][ \t]{{0,3}}|[ \t]{{1,3}})?[\"'`]?(?!//)(?=[A-Za-z+/_.~-]{{0,40}}+[0-9])"
        r"([A-Za-z0-9+/_.~-]{16,512}+)(={0,2})(?![\w=+/~%])"
    )
    for sign in "=:"
)
_SECRET_NAME = re.compile(
    r"(?:secret|token|passw(?:or)?d|passphrase|pwd|credentials?|authorization|bearer|api[_ -]?key|access[_ -]?key|"
    r"account[_ -]?key|auth[_ -]?key|private[_ -]?key|encryption[_ -]?key|signing[_ -]?key|client[_ -]?key|"
    r"clé|clave|chiave|schlüssel|(?<![\w-])key)[\w-]{0,16}[\"'`\])]{0,2}[ \t]{0,8}\Z"
)
_NAME_CHARACTERS = 48
_LEAST_BITS = 3.5
_LEAST_BITS_HEXADECIMAL = 3.0
_WORD = r"(?:[A-Za-z][a-z]*(?:[A-Z][a-z]+){0,8}[0-9]{0,2}|[A-Z]+[0-9]{0,2}|[0-9]{1,4})"
_WORDS = re.compile(rf"{_WORD}(?:[-_./+~]+{_WORD}){{0,64}}")


def find_private_keys(searched: Searched) -> Iterator[Found]:
    """Yield private keys in PEM (RFC 7468), with their lines; also where the end is cut off."""
    text = searched.text
    end: re.Match[str] | None = None
    is_last = "-----BEGIN" not in text
    for begin in () if is_last else _PEM.finditer(text):
        if not is_last and (end is None or end.start() < begin.end()):
            end = _PEM_END.search(text, begin.end())
            is_last = end is None
        if end is not None and begin.end() <= end.start() <= begin.end() + _PEM_CHARACTERS:
            yield Found(Kind.PRIVATE_KEY, begin.start(), end.end())
        else:
            lines = _PEM_LINES.match(text, begin.end())
            yield Found(Kind.PRIVATE_KEY, begin.start(), lines.end() if lines else begin.end())


def find_jwts(searched: Searched) -> Iterator[Found]:
    """Yield JSON web tokens (RFC 7519) in compact form, whose header is JSON that names an algorithm."""
    if "eyJ" in searched.text:
        for match in _JWT.finditer(searched.text):
            if _is_header("eyJ" + match[1]):
                yield Found(Kind.JWT, *match.span())


def _is_header(encoded: str) -> bool:
    try:
        header = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (binascii.Error, ValueError):
        return False
    return isinstance(header, dict) and "alg" in header


def find_api_keys(searched: Searched) -> Iterator[Found]:
    """Yield keys of known services, passwords in addresses, and what is assigned to the name of a secret at random."""
    text = searched.text
    yield from _find_services_keys(text)
    if "Q~" in text:
        for match in _AZURE_CLIENT_SECRET.finditer(text):
            yield Found(Kind.API_KEY, match.start() - _AZURE_CLIENT_SECRET_HEAD, match.end())
    if "sk-" in text:
        for match in _SK.finditer(text):
            if is_random(match[1]):
                yield Found(Kind.API_KEY, *match.span())
    if "://" in text:
        for match in _URL_PASSWORD.finditer(text):
            if match[1].lower() not in _PASSWORDS_OF_MANUALS:
                yield Found(Kind.API_KEY, *match.span(1))
    yield from _find_assigned(searched)


def _find_services_keys(text: str) -> Iterator[Found]:
    for around, keys in _SERVICES:
        if around is None or around.search(text):
            for literals, pattern in keys:
                if any(literal in text for literal in literals):
                    yield from (Found(Kind.API_KEY, *match.span()) for match in pattern.finditer(text))


def _find_assigned(searched: Searched) -> Iterator[Found]:
    for match in chain.from_iterable(pattern.finditer(searched.text) for pattern in _ASSIGNED):
        start, value = match.start(), match[1].rstrip(".")  # the end of a sentence
        if searched.has_before(_SECRET_NAME, start, _NAME_CHARACTERS) and is_random(value):
            yield Found(Kind.API_KEY, match.start(1), match.end(2) if match[2] else match.start(1) + len(value))


def is_random(value: str) -> bool:
    """Tell if a value has letters, digits and the entropy of a key, and is not made of words and short numbers.

    The entropy is Shannon's, of the value's own characters, in bits each: at least 3.5, for hexadecimal digits 3.
    """
    if value.isalpha() or not re.search("[0-9]", value) or not re.search("[A-Za-z]", value) or _WORDS.fullmatch(value):
        return False
    is_hexadecimal = re.fullmatch("[0-9A-Fa-f-]+", value) is not None
    return _entropy(value) >= (_LEAST_BITS_HEXADECIMAL if is_hexadecimal else _LEAST_BITS)


def _entropy(value: str) -> float:
    return -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())
