"""`python -m forge_pipelines.sources.guarded.worker DESCRIPTOR LIMITS READERS`: reads what it is sent."""

import os
import re
import resource
import signal
import socket
import sys
from collections.abc import Callable
from importlib import import_module

from forge_pipelines.sources.config import ReadingLimits
from forge_pipelines.sources.guarded.frames import ANSWER, receive, send
from forge_pipelines.sources.place import ItemError, Refusal
from forge_pipelines.sources.readers.reading import Reading

_LONGEST_REASON = 200
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def main(descriptor: int, limits: ReadingLimits, read: Callable[[bytes], Reading]) -> None:
    """Say that this process is ready with an empty frame, then answer each file in the order in which they come."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this process
    resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with socket.socket(fileno=descriptor) as channel:
        channel.set_inheritable(False)
        _silence()
        send(channel, b"")
        while (content := receive(channel)) is not None:
            send(channel, answer(content, limits, read))


def answer(content: bytes, limits: ReadingLimits, read: Callable[[bytes], Reading]) -> bytes:
    """Read one file; whatever its reader raises is the file's refusal."""
    try:
        reading = read(content)
        _refuse_long(len(reading.text), limits.max_text_characters)
        return ANSWER.dump_json(reading)
    except ItemError as refused:
        refusal = refused.refusal
    except MemoryError:
        reason = f"needs more memory than reading.memory_bytes ({limits.memory_bytes:,}) allows"
        refusal = Refusal("too_much_memory", reason)
    except Exception as error:  # noqa: BLE001 - what a library raises on a damaged file is anybody's guess
        refusal = Refusal("damaged", f"cannot be read: {_describe(error)}")
    return ANSWER.dump_json(refusal)


def _refuse_long(num_characters: int, limit: int) -> None:
    if num_characters > limit:
        reason = (
            f"holds {num_characters:,} characters of text, more than reading.max_text_characters ({limit:,}) allows"
        )
        raise ItemError("too_much_text", reason)


def _describe(error: Exception) -> str:
    """Return the error's class and the first line of its message, which is the same whenever the file is read."""
    lines = str(error).encode("utf-8", "replace").decode().split("\n")
    return f"{type(error).__name__}: {_ADDRESS.sub('', lines[0])}".removesuffix(": ")[:_LONGEST_REASON]


def _silence() -> None:
    """Libraries comment on every odd file; what they print would fill the log, which is for a failed start."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)


if __name__ == "__main__":
    main(int(sys.argv[1]), ReadingLimits.model_validate_json(sys.argv[2]), import_module(sys.argv[3]).read)
