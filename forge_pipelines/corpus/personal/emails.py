"""Electronic mail addresses, as RFC 5322 (section 3.4.1) and RFC 1035 (section 2.3.1) shape the ones in common use."""

import re
from collections.abc import Iterator

from forge_pipelines.corpus.personal.findings import Found, Kind
from forge_pipelines.corpus.personal.searched import Searched

_LOCAL_CHARACTERS = 64
# An at sign between what may end a local part and what may begin a domain; the sign comes first, so it is sought fast.
_AT = re.compile(r"@(?<=[\w+%'-]@)(?=[^\W_])")
_LOCAL_REVERSED = re.compile(rf"[\w.+%'-]{{1,{_LOCAL_CHARACTERS}}}+")
_DOMAIN = re.compile(r"(?:[\w-]{1,63}+\.){1,8}(?:[A-Za-z]{2,24}|xn--[A-Za-z0-9-]{2,59})(?![\w-])")
# Names such as icon@2x.png and package@1.2.0.tgz, and versions of packages.
_FILE = re.compile(
    r"(?:css|gif|gz|html?|ico|jar|jpe?g|json|js|md|pdf|png|py|svg|tgz|ts|txt|webp|whl|ya?ml|zip)\Z", re.I
)
_SCP_USERS = frozenset({"git", "hg"})


def find_emails(searched: Searched) -> Iterator[Found]:
    """Yield addresses; not the remote of a repository (``git@host:path``), nor a file with an at sign in its name."""
    text = searched.text
    if "@" not in text:
        return
    for at in _AT.finditer(text):
        sign = at.start()
        domain = _DOMAIN.match(text, sign + 1)
        local = _local(text, sign)
        if domain is None or not local or _FILE.search(domain[0]):
            continue
        if local in _SCP_USERS and text.startswith(":", domain.end()):
            continue
        yield Found(Kind.EMAIL, sign - len(local), domain.end())


def _local(text: str, sign: int) -> str:
    reversed_local = _LOCAL_REVERSED.match(text[max(0, sign - _LOCAL_CHARACTERS) : sign][::-1])
    return reversed_local[0][::-1].lstrip(".+%'-") if reversed_local else ""
