"""What is found in a text: its kind, where it stands, and which kind wins where several claim the same place."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What can be found. Where findings overlap, the kind that stands first here names them all."""

    PRIVATE_KEY = "private_key"
    JWT = "jwt"
    API_KEY = "api_key"
    IBAN = "iban"
    CARD = "card"
    NATIONAL_ID = "national_id"
    EMAIL = "email"
    IP = "ip"
    BIRTH_DATE = "birth_date"
    PHONE = "phone"
    ADDRESS = "address"
    NAME = "name"

    @property
    def placeholder(self) -> str:
        """What stands in a text where one of this kind stood, for example ``<API_KEY>``."""
        return f"<{self.name}>"


_PRECEDENCE = {kind: place for place, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True)
class Found:
    """One finding: characters ``start`` to ``stop`` (exclusive) of the text that was searched."""

    kind: Kind
    start: int
    stop: int


def resolve(findings: Iterable[Found]) -> list[Found]:
    """Return findings in the order of the text, without overlaps.

    Findings that overlap become one that covers them all, of the kind that stands first in `Kind`: no character that
    any of them claimed stays in the text.
    """
    resolved: list[Found] = []
    for found in sorted(findings, key=lambda each: (each.start, each.stop)):
        if resolved and found.start < resolved[-1].stop:
            resolved[-1] = _joined(resolved[-1], found)
        else:
            resolved.append(found)
    return resolved


def _joined(one: Found, other: Found) -> Found:
    kind = min(one.kind, other.kind, key=_PRECEDENCE.__getitem__)
    return Found(kind, min(one.start, other.start), max(one.stop, other.stop))
