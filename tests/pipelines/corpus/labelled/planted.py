"""Items of each kind, as they are written in each locale; their check digits hold."""

import base64
import json
import string
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from random import Random
from types import MappingProxyType

from forge_pipelines.corpus.personal import checksums
from forge_pipelines.corpus.personal.checksums import mod_97
from forge_pipelines.corpus.personal.findings import Kind

_ALPHANUMERIC = string.ascii_letters + string.digits

# `#` is any digit, `%` one from 2 to 9. The forms are those of Faker's phone_number providers and of style guides.
PHONES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "en_US": (
            *("(%%#) %%#-####", "%%#-%%#-####", "%%#.%%#.####", "+1 %%# %%# ####", "+1-%%#-%%#-####", "1-%%#-%%#-####"),
            *("+1%%#%%#####", "%%# %%# ####", "(%%#)%%#-####", "%%#%%#####"),
        ),
        "en_GB": (
            *(
                "020 7### ####",
                "0121 4## ####",
                "01632 960###",
                "07700 900###",
                "+44 20 7### ####",
                "+44 (0)20 7### ####",
            ),
            *("(0116) 4## ####", "+447700900###", "07700 900 ###", "0044 20 7### ####", "07700900###"),
        ),
        "de_DE": (
            *("030 #######", "0171 #######", "0171/#######", "+49 171 #######", "+49 (0)30 ######", "+49 30 ########"),
            *(
                "0049 171 #######",
                "(030) #######",
                "(0%###) ######",
                "+49(0)## ########",
                "089/######-##",
                "0151########",
            ),
        ),
        "fr_FR": (
            *("01 ## ## ## ##", "06 ## ## ## ##", "+33 1 ## ## ## ##", "+33 (0)6 ## ## ## ##", "04.##.##.##.##"),
            *("+336########", "05-##-##-##-##", "0033 1 ## ## ## ##", "06########"),
        ),
        "es_ES": (
            *("6## ### ###", "+34 6## ### ###", "6## ## ## ##", "91 ### ## ##", "+34 91 ### ## ##", "+346########"),
            *("9##-###-###", "0034 9## ### ###", "6########"),
        ),
        "it_IT": (
            *("333 #######", "+39 347 #######", "02 ########", "06 #### ####", "+39 06 ########", "348-#######"),
            *("+39333#######", "055 #######", "0039 02 #######", "347 ### ####", "333#######"),
        ),
    }
)
_DATES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "en_US": ("{month} {day}, {year}", "{m:02}/{day:02}/{year}", "{year}-{m:02}-{day:02}", "{m}/{day}/{short}"),
        "en_GB": ("{day} {month} {year}", "{day:02}/{m:02}/{year}", "{year}-{m:02}-{day:02}", "{day}th {month} {year}"),
        "de_DE": ("{day}. {month} {year}", "{day:02}.{m:02}.{year}", "{day}.{m}.{year}", "{day:02}.{m:02}.{short}"),
        "fr_FR": ("{day} {month} {year}", "{day:02}/{m:02}/{year}", "{day:02}-{m:02}-{year}", "1er {month} {year}"),
        "es_ES": ("{day} de {month} de {year}", "{day:02}/{m:02}/{year}", "{day}-{m}-{year}"),
        "it_IT": ("{day} {month} {year}", "{day:02}/{m:02}/{year}", "{day:02}.{m:02}.{year}"),
    }
)
_MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
}
_WEB = {"en_US": "com", "en_GB": "co.uk", "de_DE": "de", "fr_FR": "fr", "es_ES": "es", "it_IT": "it"}
# What stands before a number, its shape, its rule, and its groups.
_IDS: Mapping[str, tuple[tuple[str, str, Callable[[str], bool], str], ...]] = MappingProxyType(
    {
        "en_US": (("", "#########", checksums.is_ssn, "3-2-4"), ("SSN: ", "#########", checksums.is_ssn, "9")),
        "en_GB": (
            ("", "AB######C", checksums.is_nino, "2 2 2 2 1"),
            ("NI number ", "JG######A", checksums.is_nino, "9"),
            ("NHS ", "##########", checksums.is_nhs_number, "3 3 4"),
        ),
        "de_DE": (
            ("", "%##########", checksums.is_steuer_id, "2 3 3 3"),
            ("", "%##########", checksums.is_steuer_id, "11"),
            ("", "756##########", checksums.is_ahv, "3.4.4.2"),
        ),
        "fr_FR": (
            ("", "1##017#########", checksums.is_nir, "1 2 2 2 3 3 2"),
            ("", "2##122A########", checksums.is_nir, "13 2"),
            ("", "###########", checksums.is_rijksregisternummer, "2.2.2-3.2"),
        ),
        "es_ES": (
            ("", "########?", checksums.is_dni, "9"),
            ("", "########?", checksums.is_dni, "8-1"),
            ("", "X#######?", checksums.is_dni, "1-7-1"),
            ("NIF ", "2########", checksums.is_nif, "9"),
        ),
        "it_IT": (
            ("", "RSSMRA##T##A###?", checksums.is_codice_fiscale, "16"),
            ("PESEL ", "###########", checksums.is_pesel, "11"),
            ("BSN ", "#########", checksums.is_bsn, "9"),
        ),
    }
)
# The part of an IBAN behind the check digits (SWIFT IBAN Registry).
_BBANS: Mapping[str, str] = MappingProxyType(
    {
        "en_US": "CH:#####????########",
        "en_GB": "GB:NWBK##############",
        "de_DE": "DE:##################",
        "fr_FR": "FR:###################??##",
        "es_ES": "ES:####################",
        "it_IT": "IT:X######################",
    }
)


def shaped(shape: str, random: Random) -> str:
    """Fill a shape: `#` is a digit, `%` one from 2 to 9, `?` a capital letter."""
    alphabets = {"#": string.digits, "%": "23456789", "?": string.ascii_uppercase}
    return "".join(random.choice(alphabets.get(each, each)) for each in shape)


def held(shape: str, rule: Callable[[str], bool], random: Random, *, to: bool = True) -> str:
    """Fill a shape until a rule holds, or does not."""
    while rule(number := shaped(shape, random)) is not to:
        pass
    return number


def grouped(number: str, form: str) -> str:
    """Write a number in groups: `3-2-4` are three, two and four characters; words stay as they are."""
    written, done, size = "", 0, ""
    for character in f"{form}\0":
        if character.isdigit():
            size += character
            continue
        if size:
            written, done, size = written + number[done : done + int(size)], done + int(size), ""
        written += character
    return written[:-1]


def phone(random: Random, locale: str) -> str:
    return shaped(random.choice(PHONES[locale]), random)


def a_date(random: Random, locale: str) -> str:
    day = date(1935, 1, 1) + timedelta(days=random.randrange(26_000))
    month = _MONTHS[locale[:2]].split()[day.month - 1]
    form = random.choice(_DATES[locale])
    return form.format(day=day.day, m=day.month, month=month, year=day.year, short=f"{day.year % 100:02}")


def email(random: Random, locale: str) -> str:
    first = random.choice(["anna", "j", "max", "m.l", "o"])
    last = random.choice(["miller", "o'neil", "garcia", "rossi", "weiß"])
    host = random.choice(["mail.example", "example", "uni-example", "example-post"])
    number = random.choice(["", "7", "1984"])
    return f"{first}{random.choice(['.', '_', '-', '+', ''])}{last}{number}@{host}.{_WEB[locale]}"


def iban(random: Random, locale: str) -> str:
    country, _, shape = _BBANS[locale].partition(":")
    bban = shaped(shape, random)
    number = f"{country}{98 - mod_97(f'{bban}{country}00'):02}{bban}"
    return grouped(number, random.choice(["40", "4 4 4 4 4 4 4"])).strip()


def card(random: Random, _: str) -> str:
    shape, form = random.choice(
        [
            ("4###############", "4 4 4 4"),
            ("55##############", "4-4-4-4"),
            ("37#############", "4 6 5"),
            ("6011############", "16"),
        ]
    )
    return grouped(held(shape, checksums.is_luhn, random), form)


def ip(random: Random, _: str) -> str:
    if random.random() < 0.7:
        return ".".join(str(random.choice(parts)) for parts in (range(11, 127), range(256), range(256), range(1, 255)))
    full = ":".join(f"{random.randrange(1, 0xFFFF):x}" for _ in range(4))
    return random.choice(
        [f"2001:db8:{random.randrange(0x1000, 0xFFFF):x}::{random.randrange(1, 99)}", f"2a02:810:{full}:0:1"]
    )


def national_id(random: Random, locale: str) -> tuple[str, str]:
    """Return the words before a number, and the number."""
    words, shape, rule, form = random.choice(_IDS[locale])
    return words, grouped(held(shape, rule, random), form)


def api_key(random: Random, _: str) -> tuple[str, str]:
    def run(count: int, alphabet: str = _ALPHANUMERIC) -> str:
        return "".join(random.choice(alphabet) for _ in range(count))

    return random.choice(
        [
            ("", "AKIA" + run(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
            ("aws_secret_access_key = ", run(40, _ALPHANUMERIC + "/+")),
            ("", "AIza" + run(35, _ALPHANUMERIC + "-_")),
            ("", "ghp_" + run(36)),
            ("", "glpat-" + run(20)),
            ("", f"xoxb-{run(12, string.digits)}-{run(12, string.digits)}-{run(24)}"),
            ("", "sk_live_" + run(24)),
            ("", "sk-proj-" + run(48)),
            ('"api_key": "', run(32, "0123456789abcdef")),
            ("client_secret=", run(32, _ALPHANUMERIC + "-_~")),
            ("token: ", run(24)),
            ("DefaultEndpointsProtocol=https;", f"AccountKey={run(86)}=="),
            ("postgres://app:", run(12)),
        ]
    )


def private_key(random: Random, _: str) -> str:
    kind = random.choice(["RSA ", "EC ", "", "OPENSSH ", "ENCRYPTED "])
    lines = "\n".join("".join(random.choice(_ALPHANUMERIC + "+/") for _ in range(64)) for _ in range(12))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


def jwt(random: Random, _: str) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    signature = base64.urlsafe_b64encode(random.randbytes(32)).decode().rstrip("=")
    header = random.choice([{"alg": "HS256", "typ": "JWT"}, {"typ": "JWT", "alg": "RS256", "kid": "7"}])
    return f"{part(header)}.{part({'sub': random.randrange(10**9), 'iat': 1516239022})}.{signature}"


MAKERS: Mapping[Kind, Callable[[Random, str], str | tuple[str, str]]] = MappingProxyType(
    {
        Kind.EMAIL: email,
        Kind.PHONE: phone,
        Kind.IBAN: iban,
        Kind.CARD: card,
        Kind.IP: ip,
        Kind.NATIONAL_ID: national_id,
        Kind.BIRTH_DATE: a_date,
        Kind.API_KEY: api_key,
        Kind.PRIVATE_KEY: private_key,
        Kind.JWT: jwt,
    }
)
"""What makes an item of each kind; a pair is what stands before it, and the item."""
