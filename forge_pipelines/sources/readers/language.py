"""Which language a text is in."""

_JUDGED_CHARACTERS = 2000
_FEWEST_CHARACTERS = 50


def language_of(text: str) -> str | None:
    """Return the ISO 639-1 code that the text's first 2,000 characters look most like; None for a very short text."""
    import py3langid

    head = text[:_JUDGED_CHARACTERS].strip()
    if len(head) < _FEWEST_CHARACTERS:
        return None
    language: str = py3langid.classify(head)[0]
    return language
