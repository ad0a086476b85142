"""What travels between the two sides: a file one way, word of its parts the other."""

import socket
from pathlib import Path

from pydantic import TypeAdapter

from forge_pipelines.channel import receive, send
from forge_pipelines.manifest import Value
from forge_pipelines.sources.readers.reading import Begun, Content, Part, Resume

_PART = TypeAdapter(Part)
_BEGUN = TypeAdapter(Begun)
# Word comes as JSON behind one letter: nothing that a damaged process sends may run in the one that hears it.
_TELLS_PART, _TELLS_BEGUN, _TELLS_END = b"p", b"b", b"e"


class Order(Value):
    """What is asked of a reading process: a file, by the hash of its bytes, which follow unless it stands at a path."""

    sha256: str
    path: Path | None
    resume: Resume | None


def send_order(channel: socket.socket, sha256: str, content: Content, resume: Resume | None) -> None:
    """Ask for a file to be read.

    Raises:
        OSError: the other side is gone, or took nothing for the channel's timeout.
    """
    order = Order(sha256=sha256, path=content if isinstance(content, Path) else None, resume=resume)
    send(channel, order.model_dump_json().encode())
    send(channel, b"" if isinstance(content, Path) else content)


def receive_order(channel: socket.socket) -> tuple[Order, Content] | None:
    """Return what is asked next; None when the other side is gone."""
    order, content = receive(channel), receive(channel)
    if order is None or content is None:
        return None
    asked = Order.model_validate_json(order)
    return asked, asked.path or content


def encoded(word: Part | Begun | None) -> bytes:
    """Return word of a part, of one that is begun, or (None) of a file's end, as one frame.

    Raises:
        PydanticSerializationError: a text holds what no encoding does.
    """
    match word:
        case Part():
            return _TELLS_PART + _PART.dump_json(word)
        case Begun():
            return _TELLS_BEGUN + _BEGUN.dump_json(word)
        case None:
            return _TELLS_END


def decoded(frame: bytes) -> Part | Begun | None:
    """Return what `encoded` was given."""
    if frame[:1] == _TELLS_PART:
        return _PART.validate_json(frame[1:])
    return _BEGUN.validate_json(frame[1:]) if frame[:1] == _TELLS_BEGUN else None
