"""From bytes to characters, or a refusal: a file is decoded without loss, or it is not text."""

import codecs

from forge_pipelines.sources.place import ItemError

# UTF-32 stands before UTF-16, whose mark it begins with.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_BINARIES = (
    (b"\x1f\x8b", "gzip data"),
    (b"\x89PNG", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"\x7fELF", "a program"),
)


def decode(content: bytes) -> str:
    """Decode by byte-order mark, else as UTF-8, else in the 8-bit or Asian encoding that the bytes look most like.

    Raises:
        ItemError: the bytes are no text.
    """
    for start, kind in _BINARIES:
        if content.startswith(start):
            raise ItemError("not_text", f"is not text: it is {kind}")
    text = _decode_marked(content)
    if text is None:
        text = _decode_unmarked(content)
    if "\0" in text:
        raise ItemError("not_text", f"is not text: it holds a NUL at character {text.index(chr(0))}")
    return text


def _decode_marked(content: bytes) -> str | None:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            try:
                return content[len(mark) :].decode(encoding)
            except UnicodeDecodeError as error:
                raise ItemError("not_text", f"is not text: it is marked as {encoding} but {error.reason}") from error
    return None


def _decode_unmarked(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        if b"\0" in content:
            raise ItemError("not_text", f"is not text: it holds a NUL at byte {content.index(0)}") from error
    return _decode_guessing(content)


def _decode_guessing(content: bytes) -> str:
    from charset_normalizer import from_bytes

    guess = from_bytes(content).best()
    if guess is None:
        raise ItemError("not_text", "is not text: its bytes fit no known encoding")
    try:
        return content.decode(guess.encoding)
    except UnicodeDecodeError as error:
        reason = f"is not text: it begins as {guess.encoding}, but byte {error.start} does not fit"
        raise ItemError("not_text", reason) from error
