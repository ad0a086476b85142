"""Dates of birth: dates in figures or words that stand near a word of birth, in eight languages."""

import re
from collections.abc import Iterator

from forge_pipelines.corpus.personal.findings import Found, Kind
from forge_pipelines.corpus.personal.searched import Searched

# English, German, French, Spanish, Italian, Dutch, Polish, Portuguese; all patterns of words are in lower case.
_MONTH = (
    r"(?:jan(?:uary|uar|vier|uari)?|jänner|ene(?:ro)?|gen(?:naio)?|styczni\w|janeiro|feb(?:ruary|ruar|rero|braio|ruari)?|"
    r"févr(?:ier)?|lut(?:y|ego)|fevereiro|mar(?:ch|s|zo|ço|ca)?|märz|maart|apr(?:il|ile)?|avril|abr(?:il)?|kwietnia|"
    r"may|mai|mayo|maggio|mei|maja|maio|june?|juni|juin|junio|giu(?:gno)?|czerwca|junho|july?|juli|juil(?:let)?|"
    r"julio|lug(?:lio)?|lipca|julho|aug(?:ust|ustus)?|août|ago(?:sto)?|sierpnia|sept?(?:ember|embre|iembre)?|set(?:tembre|embro)?|"
    r"września|o[ck]t(?:ober|obre|ubre)?|ott(?:obre)?|października|outubro|nov(?:ember|embre|iembre)?|noviembre|listopada|"
    r"novembro|de[cz](?:ember|iembre|embro)?|déc(?:embre)?|dic(?:iembre|embre)?|grudnia)\.?"
)
_DAY = r"(?:0?[1-9]|[12][0-9]|3[01])"
_YEAR = r"(?:1[89]|20)[0-9]{2}"
# Figures that may begin a date: before a dash, a dot or a slash and more figures, or before blanks and what a month,
# «of» or a year begin with. A digit comes first, so it is sought fast.
_HEAD = re.compile(
    r"[0-9](?<![\w./-][0-9])(?=[0-9]{0,3}+[./-] ?[0-9]"
    r"|[0-9]?+(?:[strne][a-zA-Z]|[\u00b0\u00ba.])?,?[ \u00a0]{1,2}(?:[12][0-9]{3}|[ac-gj-oswAC-GJ-OSW]|[pP][aA]))"
)
_DATE = re.compile(
    # 12.03.1980, 3/12/80, 12-03-1980
    rf"{_DAY}([./-])[ ]?{_DAY}\1[ ]?(?:{_YEAR}|[0-9]{{2}})(?![\w/-]|\.[0-9])"
    # 1980-03-12
    rf"|{_YEAR}([-/.])(?:0?[1-9]|1[0-2])\2{_DAY}(?![\w-])"
    # 12 March 1980, 12. März 1980, 12th of March, 1980, 1er mars 1980, 12 de marzo de 1980
    rf"|{_DAY}(?:st|nd|rd|th|er|º|°|\.)?[ \u00a0]{{1,2}}(?:of |de )?{_MONTH},?[ \u00a0]{{1,2}}"
    rf"(?:de |del )?{_YEAR}(?![0-9])"
    # March 12, 1980: from the day on
    rf"|(?P<behind_month>){_DAY}(?:st|nd|rd|th)?,?[ \u00a0]{_YEAR}(?![0-9])"
)
_DATE_CHARACTERS = 48  # and more than the longest has
_MONTH_BEFORE = re.compile(rf"\b{_MONTH}[ \u00a0]\Z")
_MONTH_CHARACTERS = 12

_BORN_BEFORE = re.compile(
    r"(?<!<)(?:\b(?:born|birth|birthday|birthdate|birth_date|date_of_birth|dob|geb|geboren|geborene|geburtsdatum|geburtstag|née?|"
    r"né\(e\)|naissance|nacid[oa]|nació|nacimiento|nat[oa]|nascita|nascid[oa]|nascimento|geboorte|geboortedatum|"
    r"ur|urodzon[ya]|urodzenia)\b|\bd\.o\.b\.?|\bbirth)"
    # on its line, or at the beginning of the next; no sentence ends between, and no number stands there
    r"(?:(?!<birth_date>)[^\n.;0-9]|(?<=\b\w\w\w)\.|(?<=\b\w\w)\.|(?<=[^\w\n])\.){0,56}\n?[\s|>:*]{0,8}\Z"
)
_BORN_AFTER = re.compile(
    r"[^\n.;0-9]{0,28}\b(?:geboren|born|dob|date of birth|birthday|geburtsdatum|date de naissance|"
    r"fecha de nacimiento|data di nascita)\b"
)
_REACH_CHARACTERS, _BEHIND_CHARACTERS = 80, 64


def find_birth_dates(searched: Searched) -> Iterator[Found]:
    """Yield dates with a word of birth before them in the same sentence, or shortly after them."""
    for head in _HEAD.finditer(searched.text):
        date = _date(searched, head.start())
        if date is not None and _is_of_birth(searched, *date):
            yield Found(Kind.BIRTH_DATE, *date)


def _date(searched: Searched, figures: int) -> tuple[int, int] | None:
    """Return where a date begins and ends, of which some figures are the first."""
    match = _DATE.match(searched.text[figures : figures + _DATE_CHARACTERS].lower())
    if match is None:
        return None
    stop = figures + match.end()
    if match["behind_month"] is None:
        return figures, stop
    month = searched.word_before(_MONTH_BEFORE, figures, _MONTH_CHARACTERS)
    return None if month is None else (month, stop)


def _is_of_birth(searched: Searched, start: int, stop: int) -> bool:
    if searched.has_before(_BORN_BEFORE, start, _REACH_CHARACTERS):
        return True
    behind = searched.text[stop - 1 : stop + _BEHIND_CHARACTERS].lower()
    return _BORN_AFTER.match(behind, 1) is not None
