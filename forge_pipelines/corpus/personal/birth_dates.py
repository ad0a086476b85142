"""Dates of birth: dates in figures or words that stand near a word of birth, in eight languages."""

import re
from collections.abc import Iterator

from forge_pipelines.corpus.personal.findings import Found, Kind
from forge_pipelines.corpus.personal.searched import Searched

# English, German, French, Spanish, Italian, Dutch, Polish, Portuguese.
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
# Figures that may begin a date; a digit comes first, so it is sought fast.
_HEAD = re.compile(r"[0-9](?<![\w./-][0-9])(?:[0-9]{0,3}+)(?=[ \u00a0./,strne\u00b0\u00ba-])")
_DATE = re.compile(
    # 12.03.1980, 3/12/80, 12-03-1980
    rf"{_DAY}([./-])[ ]?{_DAY}\1[ ]?(?:{_YEAR}|[0-9]{{2}})(?![\w/-]|\.[0-9])"
    # 1980-03-12
    rf"|{_YEAR}([-/.])(?:0?[1-9]|1[0-2])\2{_DAY}(?![\w-])"
    # 12 March 1980, 12. März 1980, 12th of March, 1980, 1er mars 1980, 12 de marzo de 1980
    rf"|{_DAY}(?:st|nd|rd|th|er|º|°|\.)?[ \u00a0]{{1,2}}(?:of |de )?{_MONTH},?[ \u00a0]{{1,2}}"
    rf"(?:de |del )?{_YEAR}(?![0-9])"
    # March 12, 1980: from the day on
    rf"|{_DAY}(?:st|nd|rd|th)?,?[ \u00a0]{_YEAR}(?![0-9])",
    re.IGNORECASE,
)
_MONTH_BEFORE = re.compile(rf"\b{_MONTH}[ \u00a0]\Z", re.IGNORECASE)
_MONTH_CHARACTERS = 12

_BORN_BEFORE = re.compile(
    r"(?<!<)(?:\b(?:born|birth|birthday|birthdate|birth_date|date_of_birth|dob|geb|geboren|geborene|geburtsdatum|geburtstag|née?|"
    r"né\(e\)|naissance|nacid[oa]|nació|nacimiento|nat[oa]|nascita|nascid[oa]|nascimento|geboorte|geboortedatum|"
    r"ur|urodzon[ya]|urodzenia)\b|\bd\.o\.b\.?|\bbirth)"
    # on its line, or at the beginning of the next; no sentence ends between, and no number stands there
    r"(?:(?!<BIRTH_DATE>)[^\n.;0-9]|(?<=\b\w\w\w)\.|(?<=\b\w\w)\.|(?<=[^\w\n])\.){0,56}\n?[\s|>:*]{0,8}\Z",
    re.IGNORECASE,
)
_BORN_AFTER = re.compile(
    r"[^\n.;0-9]{0,28}\b(?:geboren|born|dob|date of birth|birthday|geburtsdatum|date de naissance|"
    r"fecha de nacimiento|data di nascita)\b",
    re.IGNORECASE,
)
_REACH_CHARACTERS = 80


def find_birth_dates(searched: Searched) -> Iterator[Found]:
    """Yield dates with a word of birth before them in the same sentence, or shortly after them."""
    text = searched.text
    for head in _HEAD.finditer(text):
        match = _DATE.match(text, head.start())
        start = _start(text, match) if match else None
        if (
            match is not None
            and start is not None
            and (searched.has_before(_BORN_BEFORE, start, _REACH_CHARACTERS) or _BORN_AFTER.match(text, match.end()))
        ):
            yield Found(Kind.BIRTH_DATE, start, match.end())


def _start(text: str, match: re.Match[str]) -> int | None:
    """Return where a date begins, which may be its month's name before the day; None for a day without a month."""
    start = match.start()
    if re.fullmatch(r"[0-9]{1,2}(?:st|nd|rd|th)?,?[ \u00a0][0-9]{4}", match[0], re.IGNORECASE) is None:
        return start
    month = _MONTH_BEFORE.search(text, max(0, start - _MONTH_CHARACTERS), start)
    return month.start() if month else None
