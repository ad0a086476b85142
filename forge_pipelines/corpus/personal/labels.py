"""What the labels of a token classifier mean: their scheme of tags, and which of them name persons or addresses."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from forge_pipelines.corpus.personal.findings import Kind

# As public models write them, in capitals and without what stands between words. A plain place name (LOC, GPE, CITY) is
# no address: a site that wants them replaced says so in `names_labels`.
_USUAL: Mapping[str, Kind] = {
    **dict.fromkeys(("PER", "PERS", "PERSON", "PRIVATEPERSON", "PERSONNAME", "NAME", "FULLNAME"), Kind.NAME),
    **dict.fromkeys(("FIRSTNAME", "GIVENNAME", "MIDDLENAME", "LASTNAME", "SURNAME", "FAMILYNAME"), Kind.NAME),
    **dict.fromkeys(("ADDRESS", "STREETADDRESS", "PRIVATEADDRESS", "SECONDARYADDRESS", "SECADDRESS"), Kind.ADDRESS),
    **dict.fromkeys(("STREET", "STREETNAME", "HOUSENUMBER", "BUILDING", "BUILDINGNUM"), Kind.ADDRESS),
    **dict.fromkeys(("BUILDINGNUMBER", "ZIP", "ZIPCODE", "POSTCODE", "POSTALCODE"), Kind.ADDRESS),
}
_TAG = re.compile(r"(?:([BIESLUM])-)?(.+)", re.DOTALL)
_NOT_IN_A_NAME = re.compile(r"[ _-]|[0-9]+\Z")


@dataclass(frozen=True, slots=True)
class Tag:
    """What a classifier says of one token, in the schemes IO, IOB1, BIO, BIOES and BILOU.

    Attributes:
        label: what the token is a part of; empty for tokens outside.
        begins: it begins an entity, whatever stands before it.
        ends: it ends an entity, whatever stands behind it.
    """

    label: str
    begins: bool = False
    ends: bool = False

    @classmethod
    def of(cls, written: str) -> "Tag":
        """Read a tag as a model's configuration writes it, for example ``B-PER``."""
        match = _TAG.fullmatch(written)
        if match is None or written == "O":
            return cls("")
        place = match[1] or "I"
        return cls(match[2], begins=place in "BSU", ends=place in "ESLU")


def usual_kinds(labels: Iterable[str]) -> Mapping[str, Kind]:
    """Return the kinds of those labels that are known to name persons or addresses."""
    written = {label: _NOT_IN_A_NAME.sub("", label).upper() for label in labels}
    return {label: _USUAL[name] for label, name in written.items() if name in _USUAL}
