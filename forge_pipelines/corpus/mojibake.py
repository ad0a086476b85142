"""Text that was read in another encoding than it was written in, such as «CafÃ©»: put right where that is certain."""

import re

_CONTINUATIONS = "\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
# UTF-8 that was read as Latin-1 or Windows-1252: what the first byte of a character became, and enough of the others.
# Or Windows-1252 that was read as Latin-1, but for U+0085, which ends lines. ftfy judges a line by itself, but slowly.
_TELLTALE = re.compile(
    f"[Â-ß][{_CONTINUATIONS}]|Ã |[à-ï][{_CONTINUATIONS}]{{2}}|[ð-ô][{_CONTINUATIONS}]{{3}}|[\u0080-\u0084\u0086-\u009f]"
)


def repaired(text: str) -> str:
    """Undo errors of encoding (ftfy, Speer 2019, `fix_encoding`) in the lines that show signs of them."""
    if text.isascii() or _TELLTALE.search(text) is None:
        return text
    return "\n".join(_repaired(line) if _TELLTALE.search(line) else line for line in text.split("\n"))


def _repaired(line: str) -> str:
    from ftfy import fix_encoding

    return fix_encoding(line)
