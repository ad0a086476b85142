"""Numbers that states give to persons. `checksums.py` holds each country's rules, and where they are written."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from forge_pipelines.corpus.personal import checksums
from forge_pipelines.corpus.personal.findings import Found, Kind
from forge_pipelines.corpus.personal.searched import Searched

# Where a number may begin: two digits or more, a digit that stands alone (NIR), one or two letters before digits.
_HEAD = re.compile(
    r"[0-9A-Z](?<![\w.+/-][0-9A-Z])(?<![0-9][ ,][0-9A-Z])"
    r"(?:(?<=[0-9])(?=[0-9]| [0-9]{2} )|(?<=[A-Z])(?=[A-Z]? ?[0-9]|-[0-9]))"
)
_STOP = r"(?!\w|[-+/][\w]|[ .,][0-9])"


@dataclass(frozen=True, slots=True)
class _Form:
    """How a number is written.

    Attributes:
        shape: its characters, with at most one group.
        pattern: the shape, and that nothing follows which it would be a part of.
        is_issued: tells from its letters and digits alone if it can have been given to somebody.
        words: one of them stands before it, where shape and check digits alone would find too much.
    """

    shape: str
    pattern: re.Pattern[str]
    is_issued: Callable[[str], bool]
    words: re.Pattern[str] | None = None


def _form(shape: str, is_issued: Callable[[str], bool], words: str = "") -> _Form:
    before = re.compile(rf"(?:{words})[^0-9\n;]{{0,32}}\Z") if words else None
    return _Form(shape, re.compile(f"(?:{shape}){_STOP}"), is_issued, before)


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
# The digits of a codice fiscale stand apart, so no window is around them: see `Searched.lettered`.
_CODICE_FISCALE = re.compile(
    r"[0-9](?<=[A-Za-z]{6}[0-9])(?<!\w[A-Za-z]{6}[0-9])[0-9][A-Za-z][0-9]{2}[A-Za-z][0-9L-Vl-v]{3}[A-Za-z](?!\w)"
)
_CODICE_FISCALE_LETTERS = 6


def find_national_ids(searched: Searched, countries: Collection[str]) -> Iterator[Found]:
    """Yield the numbers of some countries (ISO 3166-1 codes)."""
    forms, any_form = _sought(tuple(countries))
    for head, stop in searched.heads_near_numbers(_HEAD):
        if any_form.match(searched.text, head, stop):
            for form in forms:
                yield from _find(searched, form, head, stop)
    if "IT" in countries:
        yield from _find_codici_fiscali(searched)


@lru_cache(maxsize=8)
def _sought(countries: tuple[str, ...]) -> tuple[tuple[_Form, ...], re.Pattern[str]]:
    """Return the forms of some countries, and one pattern for all of them."""
    forms = tuple(form for country in countries for form in _FORMS.get(country, ()))
    shapes, num_groups = ["(?!)"], 0  # nothing, where there is no form
    for form in forms:
        num_groups += form.pattern.groups
        shapes.append(form.shape.replace(r"\1", rf"\{num_groups}"))
    return forms, re.compile(f"(?:{'|'.join(shapes)}){_STOP}")


def _find(searched: Searched, form: _Form, head: int, stop: int) -> Iterator[Found]:
    match = form.pattern.match(searched.text, head, stop)
    if (
        match is not None
        and form.is_issued(_SEPARATORS.sub("", match[0]))
        and (form.words is None or searched.has_label(form.words, head, 64))
    ):
        yield Found(Kind.NATIONAL_ID, *match.span())


def _find_codici_fiscali(searched: Searched) -> Iterator[Found]:
    for place in searched.lettered:
        match = _CODICE_FISCALE.match(searched.text, place)
        if match is not None:
            start = place - _CODICE_FISCALE_LETTERS
            if checksums.is_codice_fiscale(searched.text[start : match.end()].upper()):
                yield Found(Kind.NATIONAL_ID, start, match.end())
