"""Numbers that money moves by: bank accounts (IBAN) and payment cards, both held to their check digits."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from forge_pipelines.corpus.personal.checksums import is_luhn, mod_97
from forge_pipelines.corpus.personal.findings import Found, Kind
from forge_pipelines.corpus.personal.searched import Searched

# Characters of an IBAN by country: SWIFT IBAN Registry, version 101.
_LENGTHS: Mapping[str, int] = MappingProxyType(
    {
        country: length
        for length, countries in {
            15: "NO",
            16: "BE",
            18: "DK FI FK FO GL NL SD",
            19: "MK SI",
            20: "AT BA EE KZ LT LU MN XK",
            21: "CH HR LI LV",
            22: "BG BH CR DE GB GE IE ME RS VA",
            23: "AE GI IL IQ OM SO TL",
            24: "AD CZ ES MD PK RO SA SE SK TN VG",
            25: "LY PT ST",
            26: "IS TR",
            27: "BI DJ FR GR IT MC MR SM",
            28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
            29: "BR EG PS QA UA",
            30: "JO KW MU YE",
            31: "MT SC",
            32: "LC",
            33: "RU",
        }.items()
        for country in countries.split()
    }
)
# The two check digits, two letters before them, and nothing before those.
_CHECK_DIGITS = re.compile(
    r"[0-9](?<=[A-Za-z]{2}[0-9])(?<![A-Za-z0-9][A-Za-z]{2}[0-9])[0-9](?=[ \u00a0-]?[A-Za-z0-9]{4})"
)
_BODIES = {
    length: re.compile(rf"(?:[ \u00a0-]?[A-Za-z0-9]){{{length - 4}}}(?![A-Za-z0-9])")
    for length in set(_LENGTHS.values())
}

_CARD_HEAD = re.compile(r"[0-9](?<![\w.-][0-9])(?<![0-9] [0-9])(?=[0-9]{3}(?:[0-9]{10}|[ -][0-9]{4}))")
_CARD = re.compile(
    r"(?:[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}|[0-9]{4}([ -])[0-9]{6}\2[0-9]{4,5}|[0-9]{14,19})"
    r"(?!\w|[ -]?[0-9]|[.,][0-9])"
)
# First digits and lengths by network: ISO/IEC 7812-1, as the networks publish theirs (Visa, Mastercard, American
# Express, Discover, JCB, Diners Club, UnionPay, Maestro).
_ISSUED = re.compile(
    r"4(?:[0-9]{15}|[0-9]{18})"
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"
    r"|3[47][0-9]{13}"
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2})[0-9]{12}"
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12}"
    r"|3(?:0[0-5]|[68][0-9])[0-9]{11}"
    r"|62[0-9]{14,17}"
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])[0-9]{12}"
)


def find_ibans(searched: Searched) -> Iterator[Found]:
    """Yield bank accounts: a country of the registry, its length, and the check digits of ISO 13616-1 (mod 97)."""
    text = searched.text
    for place in searched.lettered:
        start = place - 2
        length = _LENGTHS.get(text[start:place].upper())
        if length is None or not _CHECK_DIGITS.match(text, place):
            continue
        body = _BODIES[length].match(text, place + 2)
        if body and is_iban(text[start : body.end()]):
            yield Found(Kind.IBAN, start, body.end())


def is_iban(written: str) -> bool:
    """Tell if letters and digits, with blanks or dashes between them, hold to ISO 13616-1."""
    iban = re.sub(r"[^A-Z0-9]", "", written.upper())
    return len(iban) == _LENGTHS.get(iban[:2]) and mod_97(iban[4:] + iban[:4]) == 1


def find_cards(searched: Searched) -> Iterator[Found]:
    """Yield payment cards: digits of a network, of its length, with the check digit of ISO/IEC 7812-1 (Luhn)."""
    for head, stop in searched.heads_near_numbers(_CARD_HEAD):
        match = _CARD.match(searched.text, head, stop)
        if match is not None:
            digits = re.sub("[^0-9]", "", match[0])
            if _ISSUED.fullmatch(digits) and is_luhn(digits):
                yield Found(Kind.CARD, *match.span())
