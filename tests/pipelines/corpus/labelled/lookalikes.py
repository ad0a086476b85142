"""What looks like personal data or a secret and is none: each of these that is found is a false positive."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from random import Random
from uuid import UUID

from forge_pipelines.corpus.personal import checksums
from forge_pipelines.corpus.personal.payment import is_iban
from labelled import phrases, planted
from labelled.planted import grouped, held, shaped


def _order(random: Random, locale: str) -> str:
    shapes = (
        "4711-0815-####",
        "%#########",
        "0#######",
        "20##-######",
        "###-##-###",
        "%##-%##-####",
        "A##-#####",
        "0## ######",
    )
    return random.choice(phrases.ORDER[locale]).format(shaped(random.choice(shapes), random))


def _number(random: Random, _: str) -> str:
    shapes = (
        "%## ### ### km",
        "1 ### ### €",
        "#.###.###,##",
        "1######### s",
        "%##,###,###",
        "0.########",
        "4########### units",
        "1##-1##",
    )
    return shaped(random.choice(shapes), random)


def _part(random: Random, locale: str) -> str:
    # No word says what it is; the last shape is also that of a telephone number of the United States.
    shapes = (
        "KX-####-####",
        "####-####",
        "%##-####-%",
        "AB######",
        "##.####.##",
        "#####-###-##",
        "0###-###",
        "%##-%##-####",
    )
    return random.choice(phrases.ANY[locale]).format(shaped(random.choice(shapes), random))


def _isbn(random: Random, _: str) -> str:
    return "ISBN " + shaped(random.choice(("978-3-16-######-#", "0-306-#####-#", "978#########", "0########X")), random)


def _day(random: Random, locale: str) -> str:
    return random.choice(phrases.MEETING[locale]).format(planted.a_date(random, locale))


def _moment(random: Random, _: str) -> str:
    return shaped(
        random.choice(("202#-0%-1#T1#:2#:3#Z", "202#0%1#1#2#3#", "1#:2#:3#.###", "2020-202#", "17########")), random
    )


def _version(random: Random, _: str) -> str:
    shapes = (
        "version 1.#.##",
        "v#.##.#.#",
        "Release %.#.1#.##",
        "Chrome/12#.0.6###.1##",
        "python-3.1#.#",
        "§ #.#.#.#",
        "1.3.6.1.4.1.####",
    )
    return shaped(random.choice(shapes), random)


def _hash(random: Random, _: str) -> str:
    content = random.randbytes(16)
    sha256 = hashlib.sha256(content)
    return random.choice(
        (
            f"commit {hashlib.sha1(content).hexdigest()}",
            f"sha256:{sha256.hexdigest()}",
            f"checksum = {sha256.hexdigest()}",
            f"integrity sha256-{base64.b64encode(sha256.digest()).decode()}",
            f"merge {hashlib.sha1(content).hexdigest()[:10]}",
            f"id: {UUID(bytes=content)}",
            f"<Buffer {content.hex(' ')}>",
        )
    )


def _colour(random: Random, _: str) -> str:
    return shaped(random.choice(("#######", "color: ###%%#;", "rgba(1##, ##, ##, 0.5)", "background:#f#e#d#")), random)


def _code(random: Random, _: str) -> str:
    return random.choice(
        (
            "std::vector<int>::iterator",
            "abc::def(cafe::bed)",
            "@dataclass(frozen=True)",
            "git@github.com:example/forge.git",
            "lodash@4.17.21",
            "icon@2x.png",
            'api_key = os.environ["API_KEY"]',
            "token: Optional[str] = None",
            "password: required, 12 characters",
            "secret_name = production/database/main-2",
            "key=user_profile_settings_v2",
            "postgres://user:password@localhost/forge",
            "127.0.0.1 and 255.255.255.0",
            f"52.{random.randrange(10**6)}, 13.{random.randrange(10**6)}",
            f"00:1a:2b:{random.randrange(10, 99)}:4d:5e",
            "doi:10.1000/182.1234567",
            "eyJust a word.and.another",
            "-----BEGIN CERTIFICATE-----",
        )
    )


def _wrong_check_digit(random: Random, locale: str) -> str:
    iban = held("DE####################", is_iban, random, to=False)
    card = held("4###############", checksums.is_luhn, random, to=False)
    tax = held("%##########", checksums.is_steuer_id, random, to=False)
    dni = held("########?", checksums.is_dni, random, to=False)
    choices = (
        f"IBAN {grouped(iban, '4 4 4 4 4 2')}",
        iban,
        grouped(card, "4 4 4 4"),
        card,
        grouped(tax, "2 3 3 3"),
        tax,
        dni,
    )
    return random.choice((*choices, shaped("000-##-####", random), shaped("9##-##-####", random)))


LOOKALIKES: Sequence[Callable[[Random, str], str]] = (
    _order,
    _number,
    _part,
    _isbn,
    _day,
    _moment,
    _version,
    _hash,
    _colour,
    _code,
    _wrong_check_digit,
)
