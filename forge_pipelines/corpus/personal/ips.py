"""Addresses of the Internet Protocol, versions 4 and 6; not versions of software, sections of a text, clock times."""

import ipaddress
import re
from collections.abc import Iterator

from forge_pipelines.corpus.personal.findings import Found, Kind
from forge_pipelines.corpus.personal.searched import Searched

# The first dot of four numbers: it comes first, so it is sought fast.
_V4_DOT = re.compile(r"\.(?<=[0-9]\.)[0-9]{1,3}(?:\.[0-9]{1,3}){2}(?![\w-]|\.[0-9])")
_V4_HEAD = re.compile(r"(?<![\w.+-])[0-9]{1,3}\Z")
# Two colons with at most a group between them, but no run of colons; then all that may belong to the same address.
_COLONS = re.compile(r":(?<!::)[0-9A-Fa-f]{0,4}:(?!:)[0-9A-Fa-f:.]*+")
_V6_HEAD_REVERSED = re.compile(r"[0-9A-Fa-f:]{0,40}+")
_LONGEST_V6 = 45
# What is numbered with dots, in the languages of the six locales.
_NUMBERED = re.compile(
    r"(?:\b(?:version|versión|versione|vers|ver|v|release|build|revision|firmware|section|sect|sec|chapter|clause|article|"
    r"abschnitt|kapitel|ziffer|artikel|chapitre|sección|capítulo|sezione|capitolo|oid)|§)[\s.:#=\"']{0,3}\Z"
    r"|\b(?:upgrade|upgraded|update|updated|bump|bumped|patch)\b[^\n]{0,24}\Z"
)

_ADDRESSED = re.compile(r"\b(?:ip|ipv4|host|server|address|adresse|dirección|indirizzo|gateway|client)\b")
_SMALL = 64  # one public address in 250 has no larger part


def find_ips(searched: Searched) -> Iterator[Found]:
    """Yield addresses that can be somebody's: no loopback, no netmask, nothing reserved, no version."""
    text = searched.text
    if "." in text:
        yield from _find_v4(searched)
    if "::" in text or text.count(":") >= 7:
        yield from _find_v6(text)


def _find_v4(searched: Searched) -> Iterator[Found]:
    for match in _V4_DOT.finditer(searched.text):
        dot = match.start()
        head = _V4_HEAD.search(searched.text, max(0, dot - 3), dot)
        if head:
            address = _somebodys_v4(head[0] + match[0])
            if address and _is_meant(searched, head.start(), address):
                yield Found(Kind.IP, head.start(), match.end())


def _somebodys_v4(written: str) -> ipaddress.IPv4Address | None:
    try:
        address = ipaddress.IPv4Address(written)
    except ValueError:
        return None
    common = address.is_loopback or address.is_multicast or address.is_reserved or address.packed[0] == 0
    return None if common else address


def _is_meant(searched: Searched, start: int, address: ipaddress.IPv4Address) -> bool:
    """Tell an address from the version of a program or the number of a section, which have small parts."""
    if searched.has_before(_NUMBERED, start):
        return False
    is_small = address.is_global and max(address.packed) < _SMALL
    return not is_small or searched.has_before(_ADDRESSED, start)


def _find_v6(text: str) -> Iterator[Found]:
    for colons in _COLONS.finditer(text):
        head = _V6_HEAD_REVERSED.match(text[max(0, colons.start() - _LONGEST_V6) : colons.start()][::-1])
        start = colons.start() - (head.end() if head else 0)
        written = text[start : colons.end()].rstrip(".")
        stop = start + len(written)
        if written.endswith(":") and not written.endswith("::"):
            stop, written = stop - 1, written[:-1]
        alone = not re.match(r"[\w:]", text[stop : stop + 1]) and not re.match(r"\w", text[start - 1 : start])
        if alone and len(written) <= _LONGEST_V6 and _is_somebodys_v6(written):
            yield Found(Kind.IP, start, stop)


def _is_somebodys_v6(written: str) -> bool:
    try:
        address = ipaddress.IPv6Address(written)
    except ValueError:
        return False
    # `abc::def` is a name in C++ and Rust: an address with a gap has a long group with a digit in it.
    is_number = "::" not in written or re.search(r"(?=[0-9A-Fa-f]{0,3}[0-9])[0-9A-Fa-f]{3,4}", written) is not None
    return is_number and not (address.is_loopback or address.is_unspecified or address.is_multicast)
