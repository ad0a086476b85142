"""`python -m forge_pipelines.sources.guarded.worker DESCRIPTOR LIMITS OPTIONS READERS`: reads what it is sent."""

import hashlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from pydantic_core import PydanticSerializationError

from forge_pipelines.channel import send
from forge_pipelines.sources.config import ReadingLimits
from forge_pipelines.sources.guarded.frames import Order, encoded, receive_order
from forge_pipelines.sources.place import Refusal
from forge_pipelines.sources.readers import ocr
from forge_pipelines.sources.readers.reading import Begun, Content, Part, ReadingOptions, Resume

Read = Callable[[Content, ReadingOptions, Resume | None], Iterator[Part | Begun]]
_CHANGED = Refusal("changed", "changed while it was being read; it is read again at the next run")


def main(descriptor: int, limits: ReadingLimits, options: ReadingOptions, read: Read) -> None:
    """Say that this process is ready with an empty frame, then give word of each file in the order of their coming."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this process
    resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ocr.configure(options.ocr)
    with socket.socket(fileno=descriptor) as channel:
        channel.set_inheritable(False)
        _silence()
        send(channel, b"")
        while (asked := receive_order(channel)) is not None:
            for word in _words(*asked, options, read):
                send(channel, _sendable(word))
            send(channel, encoded(None))


def _words(order: Order, content: Content, options: ReadingOptions, read: Read) -> Iterator[Part | Begun]:
    if not isinstance(content, Path):
        yield from read(content, options, order.resume)
        return
    before = _state(content)
    if before is None or _sha256(content) != order.sha256:
        yield Part("", None, "", _CHANGED)
        return
    yield from read(content, options, order.resume)
    if _state(content) != before:
        yield Part("", None, "", _CHANGED)


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sendable(word: Part | Begun) -> bytes:
    try:
        return encoded(word)
    except PydanticSerializationError as error:
        assert isinstance(word, Part), "a name is text already"
        return encoded(replace(word, outcome=Refusal("damaged", f"cannot be read: it holds no text: {error}"[:200])))


def _silence() -> None:
    """Libraries comment on every odd file; what they print would fill the log, which is for a failed start."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)


if __name__ == "__main__":
    readers = import_module(sys.argv[4])
    readers.prepare()
    main(
        int(sys.argv[1]),
        ReadingLimits.model_validate_json(sys.argv[2]),
        ReadingOptions.model_validate_json(sys.argv[3]),
        readers.read,
    )
