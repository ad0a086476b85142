"""Numbers that states give to persons. `checksums.py` holds each country's rules, and where they are written."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from forge_pipelines.corpus.personal import checksums
from forge_pipelines.corpus.personal.findings import Found, Kind
from forge_pipelines.corpus.personal.searched import Searched

_START = r"(?<![\w.+/-])(?<![0-9][ ,])"
_STOP = r"(?!\w|[-+/][\w]|[ .,][0-9])"


@dataclass(frozen=True, slots=True)
class _Form:
    """How a number is written.

    Attributes:
        pattern: its shape.
        is_issued: tells from its letters and digits alone if it can have been given to somebody.
        words: one of them stands before it, where shape and check digits alone would find too much.
    """

    pattern: re.Pattern[str]
    is_issued: Callable[[str], bool]
    words: re.Pattern[str] | None = None


def _form(shape: str, is_issued: Callable[[str], bool], words: str = "") -> _Form:
    before = re.compile(rf"(?:{words})[^0-9\n;]{{0,32}}\Z", re.IGNORECASE) if words else None
    return _Form(re.compile(f"{_START}(?:{shape}){_STOP}"), is_issued, before)


_SSN = r"\bssn\b|social security"
_NINO = r"national insurance|\bni (?:no|num)|\bnino\b"

_FORMS: Mapping[str, tuple[_Form, ...]] = MappingProxyType(
    {
        "BE": (_form(r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", checksums.is_rijksregisternummer),),
        "CH": (_form(r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}|756[0-9]{10}", checksums.is_ahv),),
        "DE": (_form(r"[1-9][0-9]([ ]?)[0-9]{3}\1[0-9]{3}\1[0-9]{3}", checksums.is_steuer_id),),
        "ES": (_form(r"(?:[0-9]{8}|[0-9]{2}\.[0-9]{3}\.[0-9]{3}|[XYZ][ -]?[0-9]{7})[ -]?[A-Z]", checksums.is_dni),),
        "FR": (
            _form(
                r"[12]([ ]?)[0-9]{2}\1(?:0[1-9]|1[0-2]|[2-9][0-9])\1(?:[0-9]{2}|2[AB])\1[0-9]{3}\1[0-9]{3}[ ]?[0-9]{2}",
                checksums.is_nir,
            ),
        ),
        "GB": (
            _form(
                r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] [0-9]{2} [0-9]{2} [0-9]{2} ?[A-D]",
                checksums.is_nino,
            ),
            _form(r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{6} ?[A-D]", checksums.is_nino, _NINO),
            _form(r"[0-9]{3}([ -]?)[0-9]{3}\1[0-9]{4}", checksums.is_nhs_number, r"\bnhs\b"),
        ),
        "NL": (
            _form(
                r"[0-9]{9}|[0-9]{4}[. ][0-9]{2}[. ][0-9]{3}|[0-9]{3}[. ][0-9]{3}[. ][0-9]{3}",
                checksums.is_bsn,
                r"\bbsn\b|burgerservice|sofi-?num",
            ),
        ),
        "PL": (_form(r"[0-9]{11}", checksums.is_pesel, r"\bpesel"),),
        "PT": (
            _form(r"[0-9]{3}([ ]?)[0-9]{3}\1[0-9]{3}", checksums.is_nif, r"\bnif\b|contribuinte|identificação fiscal"),
        ),
        "SE": (_form(r"[0-9]{6}[-+][0-9]{4}", checksums.is_personnummer),),
        "US": (
            _form(r"[0-9]{3}-[0-9]{2}-[0-9]{4}", checksums.is_ssn),
            _form(r"[0-9]{3} [0-9]{2} [0-9]{4}|[0-9]{9}", checksums.is_ssn, _SSN),
        ),
    }
)
_SEPARATORS = re.compile(r"[ .+-]")
# The digits of a codice fiscale stand apart, so no window is around them; they come first here, and are sought fast.
_CODICE_FISCALE = re.compile(
    r"[0-9](?<=[A-Za-z]{6}[0-9])(?<!\w[A-Za-z]{6}[0-9])[0-9][A-Za-z][0-9]{2}[A-Za-z][0-9L-Vl-v]{3}[A-Za-z](?!\w)"
)
_CODICE_FISCALE_LETTERS = 6


def find_national_ids(searched: Searched, countries: Collection[str]) -> Iterator[Found]:
    """Yield the numbers of some countries (ISO 3166-1 codes)."""
    for country in countries:
        for form in _FORMS.get(country, ()):
            yield from _find(searched, form)
    if "IT" in countries:
        yield from _find_codici_fiscali(searched.text)


def _find(searched: Searched, form: _Form) -> Iterator[Found]:
    for match in searched.matches_near_numbers(form.pattern):
        if form.is_issued(_SEPARATORS.sub("", match[0])) and (
            form.words is None or searched.has_before(form.words, match.start(), 64)
        ):
            yield Found(Kind.NATIONAL_ID, *match.span())


def _find_codici_fiscali(text: str) -> Iterator[Found]:
    for match in _CODICE_FISCALE.finditer(text):
        start = match.start() - _CODICE_FISCALE_LETTERS
        if checksums.is_codice_fiscale(text[start : match.end()].upper()):
            yield Found(Kind.NATIONAL_ID, start, match.end())
