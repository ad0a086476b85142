"""Telephone numbers: international (ITU-T E.164), and as written at home in the US, GB, DE, FR, ES and IT.

Sources of the national forms: NANPA (North American Numbering Plan), Ofcom's National Telephone Numbering Plan,
Bundesnetzagentur (DIN 5008 spelling), ARCEP, CNMC (Plan nacional de numeración telefónica), AGCOM.
"""

import re
from collections.abc import Callable, Iterator

from forge_pipelines.corpus.personal.checksums import is_article_number
from forge_pipelines.corpus.personal.findings import Found, Kind
from forge_pipelines.corpus.personal.searched import BLANK, DASH, Searched

# Calling codes in use: ITU-T E.164, list of country codes.
_CALLING_CODE = (
    r"1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|(?:2[1-689]|3[578]|42|5[09]|6[7-9]|8[0578]|9[679])[0-9]"
)
# Digits after the calling code, fewest and most, without the trunk's 0.
_NATIONAL_DIGITS = {"1": (10, 10), "33": (9, 9), "34": (9, 9), "39": (6, 11), "44": (9, 10), "49": (6, 12)}
_OTHER_DIGITS = (6, 12)

_SEP = rf"(?:{BLANK}|{DASH}|[./])"
_GAP = rf"(?:{BLANK}?[-\u2010\u2011\u2013/]{BLANK}?|{BLANK}|\.)"  # one separator, perhaps with blanks around it
# Where a number of six digits or more may begin.
_HEAD = re.compile(
    rf"[0-9(](?<![\w+&#/][0-9(])(?<!\w{DASH}[0-9(])(?<![0-9][.,/:][0-9(])"
    r"(?=(?:[ \u00a0\u2009\u202f()./\-\u2010\u2011\u2013]{0,4}[0-9]){5})"
)
_APART = rf"(?<![0-9]{BLANK})(?<![0-9][a-f] )"  # no group of a longer number, and no byte of a dump
_STOP = rf"(?!\w|{DASH}\w|[./:][0-9]|,[0-9])"
_CODE_AND_REST = (
    rf"(?P<code>{_CALLING_CODE})\)?(?P<rest>{_GAP}?(?:\([0-9]{{1,5}}\){BLANK}?)?[0-9](?:{_GAP}?[0-9]){{4,40}}+)"
)
_PLUS = re.compile(rf"(?<![\w+])\(?\+{_CODE_AND_REST}")
_ZEROS = re.compile(rf"{_APART}00{_CODE_AND_REST}")
_EXTENSION = rf"(?:{BLANK}?(?:x|ext\.?){BLANK}?[0-9]{{1,6}})?"
_EXTENSION_BEHIND = re.compile(rf"{_EXTENSION}{_STOP}")
_AREA, _EXCHANGE = "[2-9](?!11)[0-9]{2}", "[2-9](?!11)[0-9]{2}"
# Forms that are telephone numbers by their shape alone.
_SHAPED = re.compile(
    r"(?:"
    # (212) 555-0147; 212-555-0147 and 1-212-555-0147; 212 555 0147
    rf"(?:1{_SEP})?(?:\([2-9][0-9]{{2}}\){BLANK}?{_EXCHANGE}{_SEP}"
    rf"|{_AREA}(?P<us>{DASH}|\.){_EXCHANGE}(?P=us)|{_APART}{_AREA}{BLANK}{_EXCHANGE}(?:{BLANK}|{DASH}))[0-9]{{4}}{_EXTENSION}"
    # 01 23 45 67 89
    rf"|{_APART}0[1-9](?P<fr>{_SEP})[0-9]{{2}}(?:(?P=fr)[0-9]{{2}}){{3}}(?!{BLANK}[0-9a-f]{{2}}\b)"
    # 612 34 56 78, 91 123 45 67, 612-345-678
    rf"|{_APART}[6-9][0-9]{{2}}(?P<es>{_SEP})[0-9]{{2}}(?P=es)[0-9]{{2}}(?P=es)[0-9]{{2}}"
    rf"|{_APART}9[0-9](?P<eb>{_SEP})[0-9]{{3}}(?P=eb)[0-9]{{2}}(?P=eb)[0-9]{{2}}"
    rf"|[6-9][0-9]{{2}}{DASH}[0-9]{{3}}{DASH}[0-9]{{3}}"
    # 333 1234567, 347 123 4567
    rf"|{_APART}3[2-9][0-9](?:{BLANK}|[-/])(?:[0-9]{{6,7}}|[0-9]{{3}}(?:{BLANK}|-)[0-9]{{4}})"
    rf"){_STOP}"
)
# Without a separator: 07700900123, 01214960123, 02079460123; 0612345678; 01701234567, 015112345678.
_BARE = re.compile(rf"{_APART}0(?:(?:1[1-9]|2[03489]|7[1-57-9])[0-9]{{8}}|[67][0-9]{{8}}|1[5-7][0-9]{{9}}){_STOP}")
# A trunk 0 with an area and the subscriber: (030) 123456, 0171/1234567, 020 7946 0018, 02 1234567.
_JOINT = rf"(?:{BLANK}?[-\u2010\u2011\u2013/]{BLANK}?|{BLANK})"
_TRUNK = re.compile(
    rf"{_APART}(?P<area>\(0[1-9][0-9]{{0,4}}\){_JOINT}?|0[1-9][0-9]{{0,4}}{_JOINT})"
    rf"[0-9]{{2,8}}(?:{_JOINT}(?!0[1-9][0-9]{{1,4}}{_JOINT}[0-9])[0-9]{{2,6}}){{0,4}}{_STOP}"
)
_PARTED = re.compile(rf"[0-9]{BLANK}[0-9]")
_ENOUGH_DIGITS, _MOST_DIGITS = 9, 13
# Any number at all, where a word says that it is one.
_ANY = re.compile(rf"{_APART}\(?[0-9](?:[ \u00a0\u202f()./\-\u2010\u2011\u2013]{{0,3}}[0-9]){{5,11}}+{_STOP}")

_CALLED = re.compile(
    r"\b(?:tel|tél|tlf|tfno|tph|ph|phone|telephone|telefon|téléphone|teléfono|telefono|mobile|mobil|móvil|cell|cellulare|cellphone|"
    r"handy|portable|ring|fax|telefax|faks|call|whatsapp|hotline|helpline|rufnummer|durchwahl|anruf|anrufen|rufen|appelez|"
    r"joindre|llame|llamar|chiamare|chiamate)\b[^0-9\n;]{0,32}\Z"
)
_CALLED_CHARACTERS = 48
# Words before other numbers, in the languages of the six locales.
_COUNTED = re.compile(
    r"(?:\b(?:order|part|item|article|sku|ean|upc|isbn|issn|doi|oid|invoice|ref|reference|serial|ticket|case|model|tracking|batch|lot|"
    r"version|build|merge|commit|bestellung|bestellnummer|bestell-nr|auftrag|auftragsnummer|artikel|artikelnummer|teil|teilenummer|rechnung|"
    r"rechnungsnummer|seriennummer|charge|aktenzeichen|commande|pièce|facture|référence|réf|série|pedido|pieza|factura|referencia|"
    r"serie|ordine|pezzo|fattura|riferimento|rif|lotto|iban|konto|compte|cuenta|conto|account)\b|№)[^0-9\n;,]{0,12}\Z"
)
_DATE = re.compile(
    r"(?:[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}([-/.])[0-9]{1,2}\1(?:[0-9]{4}|[0-9]{2}))(?![0-9])"
)
_DIGITS = re.compile("[0-9]+")


def find_phones(searched: Searched) -> Iterator[Found]:
    """Yield telephone numbers: international ones, those shaped like one at home, and any number behind its word."""
    for international in _with_plus(searched):
        stop = _international_stop(international)
        if stop is not None:
            yield Found(Kind.PHONE, international.start(), stop)
    done = [0] * len(_FORMS)
    for head, window_stop in searched.heads_near_numbers(_HEAD):
        for form, (pattern, stop_of) in enumerate(_FORMS):
            match = pattern.match(searched.text, head, window_stop) if head >= done[form] else None
            if match is not None:
                done[form] = match.end()
                stop = stop_of(searched, match)
                if stop is not None:
                    yield Found(Kind.PHONE, head, stop)


def _with_plus(searched: Searched) -> Iterator[re.Match[str]]:
    for start, stop in searched.windows if "+" in searched.text else ():
        if searched.text.find("+", start, stop) >= 0:
            yield from _PLUS.finditer(searched.text, start, stop)


def _dialled(searched: Searched, match: re.Match[str]) -> int | None:
    """Tell 0049 171 1234567 from a number that happens to begin with zeros."""
    is_parted = match["rest"][0] in " (-/\u00a0\u202f" and not _is_counted(searched, match.start())
    is_called = is_parted or searched.has_label(_CALLED, match.start(), _CALLED_CHARACTERS)
    return _international_stop(match) if is_called else None


def _shaped(searched: Searched, match: re.Match[str]) -> int | None:
    return None if _is_counted(searched, match.start()) else match.end()


def _bare(searched: Searched, match: re.Match[str]) -> int | None:
    return None if is_article_number(match[0]) else _shaped(searched, match)


def _behind_trunk(searched: Searched, match: re.Match[str]) -> int | None:
    return _shaped(searched, match) if _is_whole(match) else None


def _any(searched: Searched, match: re.Match[str]) -> int | None:
    is_called = searched.has_label(_CALLED, match.start(), _CALLED_CHARACTERS)
    return match.end() if is_called and not _DATE.match(match[0]) else None


# What a number looks like, and what returns where it ends, or None for what is none.
_FORMS: tuple[tuple[re.Pattern[str], Callable[[Searched, re.Match[str]], int | None]], ...] = (
    (_ZEROS, _dialled),
    (_SHAPED, _shaped),
    (_BARE, _bare),
    (_TRUNK, _behind_trunk),
    (_ANY, _any),
)


def _is_whole(match: re.Match[str]) -> bool:
    area, *groups = _DIGITS.findall(match[0])
    num_digits = sum(map(len, (area, *groups)))
    if len(area) < 3 and max(map(len, groups)) < 3:  # bytes of a dump, days and hours
        return False
    if match["area"][0] == "(":
        return 7 <= num_digits <= _MOST_DIGITS
    # As numbers of parts are, too: 0171-123456, but not 0171-12 34 56.
    is_joined = match["area"][-1] in "-\u2010\u2011\u2013" and not _PARTED.search(match[0])
    return _ENOUGH_DIGITS + is_joined <= num_digits <= _MOST_DIGITS


def _is_counted(searched: Searched, start: int) -> bool:
    """Tell if the words before a number say that it is another kind of number."""
    return searched.has_label(_COUNTED, start) and not searched.has_label(_CALLED, start, _CALLED_CHARACTERS)


def _international_stop(match: re.Match[str]) -> int | None:
    """Return where the number ends: after the last group with which it has as many digits as its country's have."""
    fewest, most = _NATIONAL_DIGITS.get(match["code"], _OTHER_DIGITS)
    rest = match["rest"]
    num_digits = -1 if re.match(r"[^0-9]{0,3}\(0", rest) else 0
    stop = None
    for group in _DIGITS.finditer(rest):
        num_digits += len(group[0])
        if fewest <= num_digits <= most:
            stop = match.start("rest") + group.end()
    extension = _EXTENSION_BEHIND.match(match.string, stop) if stop == match.end() else None
    return extension.end() if extension else stop
