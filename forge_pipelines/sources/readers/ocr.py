"""Text in pictures (OCR): recognised by a command that the source names, once for the whole reading process."""

from forge_pipelines import processes
from forge_pipelines.sources.place import ItemError

REMEDY = "name a command that recognises text (OCR) as `reading.ocr`"
_SECONDS_A_PICTURE = 300.0
_command: list[str] = []


def configure(command: tuple[str, ...]) -> None:
    """Set the command: it reads a PNG from standard input and writes text (UTF-8) to standard output. None by ()."""
    _command[:] = command


def is_configured() -> bool:
    """Tell whether text can be recognised."""
    return bool(_command)


def recognise(png: bytes) -> str:
    """Return the text in a picture; nothing where it shows none.

    Raises:
        ItemError: there is no command, or it failed.
    """
    if not _command:
        raise ItemError("needs_ocr", f"is a picture; {REMEDY}")
    try:
        recognised = processes.transform(_command, png, _SECONDS_A_PICTURE)
        text = recognised.output.decode("utf-8")
    except TimeoutError as error:
        raise ItemError("ocr_failed", f"could not be recognised: {error}") from error
    except UnicodeDecodeError as error:
        raise ItemError("ocr_failed", f"could not be recognised: {_command[0]} wrote no UTF-8") from error
    if recognised.exit_code != 0:
        said = recognised.complaint or f"{_command[0]} ended with exit code {recognised.exit_code}"
        raise ItemError("ocr_failed", f"could not be recognised: {said}")
    return text.replace("\f", "\n").strip()
